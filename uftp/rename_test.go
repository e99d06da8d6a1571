package uftp_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestRenameTrips gives a file its name in one round trip, with both servers.
func TestRenameTrips(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "with blank", []byte("x"))
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		check(t, c.Connect(t.Context()))
		before := c.Stats().RoundTrips
		check(t, c.Rename(t.Context(), "with blank", "b"))
		if n := c.Stats().RoundTrips - before; n != 1 {
			t.Errorf("%d round trips", n)
		}
		for _, tt := range []struct{ from, to string }{{"missing", "c"}, {"b", "no/where"}} {
			if err := c.Rename(t.Context(), tt.from, tt.to); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			}
		}
		if got := local(t, s, "b"); string(got) != "x" {
			t.Errorf("%q", got)
		}
	})
}

// TestRenameRefused: when the server does not take the old name it still has that of
// the rename before, and must not rename what is called so by now.
func TestRenameRefused(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "a", []byte("old"))
	s.WriteFile(t, "c", []byte("c"))
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	check(t, c.Rename(t.Context(), "a", "b"))
	s.WriteFile(t, "a", []byte("new"))
	s.Faults().Inject(1, uftptest.Fault{Verb: "RNFR", Errno: syscall.EACCES})
	if err := c.Rename(t.Context(), "c", "d"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	for name, want := range map[string]string{"a": "new", "b": "old", "c": "c"} {
		if got := local(t, s, name); string(got) != want {
			t.Errorf("%s has %q", name, got)
		}
	}
}

// TestChmodRefusedAfterRename is the same for a name with a blank, for which changing
// the mode takes renames.
func TestChmodRefusedAfterRename(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "a", []byte("old"))
	s.WriteFile(t, "with blank", []byte("x"))
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	check(t, c.Rename(t.Context(), "a", "b"))
	s.WriteFile(t, "a", []byte("new"))
	s.Faults().Inject(1, uftptest.Fault{Verb: "RNFR", Errno: syscall.EACCES})
	wantErr(t, c.Chmod(t.Context(), "with blank", 0o600), fs.ErrPermission)
	for name, want := range map[string]string{"a": "new", "b": "old", "with blank": "x"} {
		if got := local(t, s, name); string(got) != want {
			t.Errorf("%s has %q", name, got)
		}
	}
	check(t, c.Chmod(t.Context(), "with blank", 0o600))
	if i := ok[uftp.Info](t)(c.Stat(t.Context(), "with blank")); i.Mode != 0o600 {
		t.Errorf("mode %v", i.Mode)
	}
}
