package mounter_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// serverAccess is the default user's.
func serverAccess(s *uftptest.Server) uftp.Access {
	user := uftptest.DefaultUser()
	return uftp.Access{
		Credential: uftp.UsernamePassword{Username: user.Name, Password: uftp.Secret(user.Password)},
		CABundle:   s.CABundle(),
	}
}

func serverSpec(s *uftptest.Server) volume.Spec {
	spec := volume.Default()
	spec.AuthURL = s.AuthURL()
	return spec
}

// TestServer is the whole way: applications, kernel, worker, TLS, UFTP.
func TestServer(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		e := newEnv(t)
		p := e.publication("v1", "a")
		p.Spec = serverSpec(s)
		if err := e.manager.Publish(t.Context(), p, serverAccess(s)); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 3<<20+77)
		r := rand.NewChaCha8([32]byte{2})
		_, _ = r.Read(want)
		name := filepath.Join(p.Target, "a file")
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(s.Dir(), "a file")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("at the server: %d bytes, want %d, %v", len(got), len(want), err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("through the mount: %d bytes, want %d, %v", len(got), len(want), err)
		}
		e.restartNode()
		out := shell(t, "cd '%s' && mkdir d && mv 'a file' d/x && cat d/x | wc -c && rm d/x && rmdir d && ls", p.Target)
		if strings.TrimSpace(out) != strconv.Itoa(len(want)) {
			t.Errorf("shell says %q", out)
		}
		// Everything closed is at the server when unpublish returns, and the
		// sessions are free again.
		if err := os.WriteFile(name, want[:1000], 0o644); err != nil {
			t.Fatal(err)
		}
		e.unpublish(p)
		if got, err := os.ReadFile(filepath.Join(s.Dir(), "a file")); err != nil || !bytes.Equal(got, want[:1000]) {
			t.Errorf("after unpublish: %d bytes, want 1000, %v", len(got), err)
		}
	})
}

// TestServerDiskCache: what a worker has read is there for the next one, which
// runs behind the same walls, and for nobody else.
func TestServerDiskCache(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	want := make([]byte, 5<<20+77)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(want)
	name, hour := filepath.Join(s.Dir(), "file"), time.Now().Add(-time.Hour)
	if err := os.WriteFile(name, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, hour, hour); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	read := func(round string) {
		t.Helper()
		p := e.publication("v1", "a")
		p.Spec = serverSpec(s)
		p.Spec.CacheDir = e.served
		if err := e.manager.Publish(t.Context(), p, serverAccess(s)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(p.Target, "file")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d, %v", round, len(got), len(want), err)
		}
		eventually(t, "the disk has it", func() bool {
			data, _ := filepath.Glob(filepath.Join(p.Spec.CacheDir, "*.data"))
			var st unix.Stat_t
			return len(data) == 1 && unix.Stat(data[0], &st) == nil && st.Blocks*512 >= int64(len(want))
		})
		e.unpublish(p)
	}
	read("first")
	sent := s.Stats().BytesSent
	if sent < int64(len(want)) {
		t.Errorf("the server sent %d bytes of %d", sent, len(want))
	}
	read("second")
	if again := s.Stats().BytesSent - sent; again > 0 {
		t.Errorf("the server sent %d bytes again", again)
	}
	p := e.publication("v2", "b")
	p.Spec = serverSpec(s)
	p.Spec.CacheDir = filepath.Join(e.served, "below")
	if err := e.manager.Publish(t.Context(), p, serverAccess(s)); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("a cache where the keeper allows none: %v", err)
	}
}

func TestServerErrors(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	if err := os.WriteFile(filepath.Join(s.Dir(), "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "https://" + closed.Addr().String() + "/rest/auth/TEST"
	_ = closed.Close()
	e := newEnv(t)
	tests := []struct {
		name   string
		change func(*volume.Spec, *uftp.Access)
		want   error
	}{
		{"wrong password", func(_ *volume.Spec, a *uftp.Access) {
			a.Credential = uftp.UsernamePassword{Username: "demo", Password: "M4RKED"}
		}, uftp.ErrAuth},
		{"anonymous", func(_ *volume.Spec, a *uftp.Access) { a.Credential = uftp.Anonymous{} }, uftp.ErrAuth},
		{"missing base", func(s *volume.Spec, _ *uftp.Access) { s.Path = "/not/there" }, fs.ErrNotExist},
		{"base is a file", func(v *volume.Spec, _ *uftp.Access) { v.Path = filepath.Join(s.Dir(), "file") }, fs.ErrNotExist},
		{"unreachable", func(s *volume.Spec, _ *uftp.Access) { s.AuthURL = nowhere }, uftp.ErrUnavailable},
		{"unknown server", func(s *volume.Spec, _ *uftp.Access) { s.AuthURL += "X" }, fs.ErrNotExist},
		{"bad TLS", func(_ *volume.Spec, a *uftp.Access) { a.CABundle = nil }, uftp.ErrUntrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := e.publication("v1", "x/mount")
			p.Spec = serverSpec(s)
			a := serverAccess(s)
			tt.change(&p.Spec, &a)
			err := e.manager.Publish(t.Context(), p, a)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			t.Log(err)
			if err != nil && strings.Contains(err.Error(), "M4RKED") {
				t.Errorf("the error shows a secret: %v", err)
			}
			if left := e.mounts(); len(left) > 0 {
				t.Errorf("mounts left: %v", left)
			}
			if _, err := os.Lstat(p.Target); !os.IsNotExist(err) {
				t.Errorf("target was made: %v", err)
			}
		})
	}
}

// A second publication and a rotated credential are proved at the auth service
// and take none of the user's sessions.
func TestServerProof(t *testing.T) {
	user := uftptest.DefaultUser()
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{user}, MaxConnections: 1})
	e := newEnv(t)
	p, q := e.publication("v1", "p"), e.publication("v1", "q")
	p.Spec = serverSpec(s)
	q.Spec = p.Spec
	old := serverAccess(s)
	if err := e.manager.Publish(t.Context(), p, old); err != nil {
		t.Fatal(err)
	}
	if err := e.manager.Publish(t.Context(), q, old); err != nil {
		t.Fatal(err)
	}
	e.unpublish(q)

	user.Password = "rotated"
	s.SetUser(user)
	if err := e.manager.Publish(t.Context(), q, old); !errors.Is(err, uftp.ErrAuth) {
		t.Errorf("a password that is not valid any more: %v, want ErrAuth", err)
	}
	if err := e.manager.Publish(t.Context(), p, old); err != nil {
		t.Errorf("republish of a live target: %v", err)
	}
	rotated := old
	rotated.Credential = uftp.UsernamePassword{Username: user.Name, Password: uftp.Secret(user.Password)}
	if err := e.manager.Publish(t.Context(), p, rotated); err != nil {
		t.Error(err)
	}
	// Only the new password leads to new sessions from now on.
	if err := s.ExpireSecrets(); err != nil {
		t.Fatal(err)
	}
	if err := s.KillSessions(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Errorf("after the sessions died: %v", err)
	}
	if err := e.manager.Publish(t.Context(), q, rotated); err != nil {
		t.Error(err)
	}
	if n := len(e.sources()); n != 1 {
		t.Errorf("%d mounts, want 1", n)
	}
	e.unpublish(p)
	e.unpublish(q)
}

// The two-step mount: somebody else has authenticated.
func TestServerTwoStep(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	a := serverAccess(s)
	login, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{AuthURL: s.AuthURL(), Access: a, Persistent: true, StreamCount: 1, HTTPTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	p := e.publication("v1", "a")
	p.Spec = volume.Default()
	p.Spec.Server = net.JoinHostPort(login.Host, strconv.Itoa(login.Port))
	once := uftp.Access{Credential: uftp.UsernamePassword{Password: login.Password}}
	if err := e.manager.Publish(t.Context(), p, once); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if err := e.manager.Publish(t.Context(), p, once); err != nil {
		t.Error(err)
	}
	e.unpublish(p)
}
