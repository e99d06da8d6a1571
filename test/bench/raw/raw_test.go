package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// login opens sessions below the directory that a server shows.
func login(t *testing.T, s *uftptest.Server, n int) []*session {
	t.Helper()
	got, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
		AuthURL: s.AuthURL(), BaseDir: s.Dir(), Persistent: true,
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_SERVER", net.JoinHostPort(got.Host, strconv.Itoa(got.Port)))
	t.Setenv("UFTP_PASSWORD", got.Password.Reveal())
	all, err := sessions(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range all {
			s.close()
		}
	})
	return all
}

// TestWork does everything once, against both servers.
func TestWork(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		const size = 3<<20 + 17
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(content)
		s.WriteFile(t, "part0", content)
		s.WriteFile(t, "part1", content)
		for i := range 50 {
			s.WriteFile(t, fmt.Sprintf("small/%02d/x", i), content[:100*i])
			s.WriteFile(t, fmt.Sprintf("flat/%02d", i), content[:100*i])
		}
		s.WriteFile(t, "out/.keep", nil)
		const smallBytes = 100 * 49 * 50 / 2
		all := login(t, s, 2)
		j := job{file: "part0", size: size, piece: 1 << 20, depth: 4, limit: time.Minute}
		for _, step := range []struct {
			name       string
			do         func(job, []*session) (result.Result, error)
			with       func()
			bytes, ops int64
		}{
			{"read", read, func() {}, size, 4},
			{"ranges", ranges, func() { j.count, j.piece = 100, 4096 }, 100 * 4096, 100},
			{"many", many, func() { j.file, j.count, j.piece = "part%d", 2, 1<<20 }, 2 * size, 8},
			{"list", list, func() { j.dir = "flat" }, 0, 50},
			{"files", files, func() {}, smallBytes, 50},
			{"tree", tree, func() { j.dir = "small" }, smallBytes, 50},
			{"write", write, func() { j.file = "out/big" }, size, 4},
			{"put", put, func() { j.dir, j.count, j.piece = "out", 300, 1000 }, 300 * 1000, 300},
			{"mixed", mixed, func() { j.file, j.out, j.piece = "part0", "out/mixed", 1<<20 }, 2 * size, 8},
		} {
			step.with()
			got, err := step.do(j, all)
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got.Bytes != step.bytes || got.Ops != step.ops {
				t.Errorf("%s: %d bytes in %d operations, want %d in %d", step.name, got.Bytes, got.Ops, step.bytes, step.ops)
			}
		}
		want := bytes.Repeat(noise(), 1)
		for name, n := range map[string]int{"out/raw00299": 1000, "out/mixed": size} {
			got, err := os.ReadFile(filepath.Join(s.Dir(), name))
			if err != nil || len(got) != n || !bytes.Equal(got[:1000], want[:1000]) {
				t.Errorf("%s has %d bytes (%v), want %d of the noise", name, len(got), err, n)
			}
		}
	})
}

// TestEnough has the time end in the middle, and the session work on.
func TestEnough(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", make([]byte, 1<<20))
	all := login(t, s, 1)
	for range 2 {
		got, err := ranges(job{file: "f", size: 1 << 20, piece: 4096, depth: 16, limit: time.Nanosecond}, all)
		if err != nil {
			t.Fatal(err)
		}
		if got.Ops == 0 || got.Ops > 40 {
			t.Errorf("%d ranges within no time, with 16 under way", got.Ops)
		}
	}
}

func TestRefused(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	all := login(t, s, 1)
	if _, err := read(job{file: "nowhere", size: 1 << 20, piece: 4096, depth: 16, limit: time.Minute}, all); err == nil {
		t.Error("a file that is not there was read")
	}
}
