package uftp_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// scattered returns n ranges of up to size bytes in random order, with gaps, and
// the file that they make.
func scattered(n, size int) (parts []uftp.WriteRange, want []byte) {
	rnd := rand.New(rand.NewPCG(uint64(n), uint64(size)))
	var off int
	for i := range n {
		off += rnd.IntN(3) * 1000
		p := pattern(1+rnd.IntN(size), uint64(i))
		parts = append(parts, uftp.WriteRange{Off: int64(off), Data: p})
		want = append(append(want, make([]byte, off-len(want))...), p...)
		off = len(want)
	}
	rnd.Shuffle(n, func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return parts, want
}

func TestWriteRanges(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		for _, n := range []int{0, 1, 2, 63, 64, 65, 300} {
			parts, want := scattered(n, 50_000)
			s.WriteFile(t, "f", nil)
			before := c.Stats()
			after := ok[uftp.Info](t)(c.WriteRanges(t.Context(), "f", parts))
			if after.Size != int64(len(want)) {
				t.Errorf("%d ranges: %+v, want %d bytes", n, after, len(want))
			}
			if got := local(t, s, "f"); !bytes.Equal(got, want) {
				t.Errorf("%d ranges: wrong bytes", n)
			}
			if trips := c.Stats().RoundTrips - before.RoundTrips; n > 2 && trips > int64(20+n) {
				t.Errorf("%d ranges took %d round trips", n, trips)
			}
		}
	})
}

// TestWriteRangesRefused: the server says no, and the session is as good as
// before.
func TestWriteRangesRefused(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		parts, want := scattered(20, 50_000)
		check(t, c.Connect(t.Context()))
		before := c.Stats().Logins
		if _, err := c.WriteRanges(t.Context(), "missing/f", parts); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a directory: %v", err)
		}
		ok[uftp.Info](t)(c.WriteRanges(t.Context(), "g", parts))
		if got := local(t, s, "g"); !bytes.Equal(got, want) {
			t.Error("wrong bytes after a refusal")
		}
		if after := c.Stats().Logins; after != before {
			t.Errorf("%d logins for a refusal", after-before)
		}
	})
}

// TestWriteRangesFail: the error of a range is the true one, whatever became of
// those behind it, and another attempt makes everything right.
func TestWriteRangesFail(t *testing.T) {
	for name, fault := range map[string]uftptest.Fault{
		"disk full": {Verb: "STOR", Skip: 7, Transfer: true, After: 100, Errno: syscall.ENOSPC},
		"refused":   {Verb: "STOR", Skip: 7, Errno: syscall.EACCES},
		"first":     {Verb: "STOR", Errno: syscall.EACCES},
		"last":      {Verb: "STOR", Skip: 29, Errno: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			s := uftptest.Start(t, uftptest.Config{})
			c := open(t, s)
			parts, want := scattered(30, 50_000)
			s.Faults().Inject(1, fault)
			if _, err := c.WriteRanges(t.Context(), "f", parts); !errors.Is(err, fault.Errno) {
				t.Errorf("%v, want %v", err, fault.Errno)
			}
			ok[uftp.Info](t)(c.WriteRanges(t.Context(), "f", parts))
			if got := local(t, s, "f"); !bytes.Equal(got, want) {
				t.Error("wrong bytes after another attempt")
			}
		})
	}
}
