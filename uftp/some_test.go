package uftp_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// wantErrs compares errors with the causes that are expected.
func wantErrs(t *testing.T, what string, got []error, want ...error) {
	t.Helper()
	for i, err := range got {
		if !errors.Is(err, want[i]) {
			t.Errorf("%s, the %d-th of %d: %v, want %v", what, i, len(got), err, want[i])
		}
	}
}

// TestSome: what is done to many files goes in few packets, in order, with a word
// about each.
func TestSome(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		ctx := t.Context()
		check(t, c.Connect(ctx))
		s.WriteFile(t, "file", nil)
		trips := func(most int64, f func()) {
			t.Helper()
			before := c.Stats().RoundTrips
			f()
			if got := c.Stats().RoundTrips - before; got > most {
				t.Errorf("%d round trips, want %d", got, most)
			}
		}
		trips(1, func() {
			wantErrs(t, "mkdir", c.MkdirSome(ctx, []string{"d", "d/a b", "file", "none/x", "", "d/-c"}),
				nil, nil, fs.ErrExist, fs.ErrNotExist, fs.ErrInvalid, nil)
		})
		const many = 200
		var paths []string
		var attrs []uftp.Attr
		for i := range many {
			name := fmt.Sprintf("d/-c/file%d", i)
			s.WriteFile(t, name, nil)
			paths = append(paths, name)
			attrs = append(attrs, uftp.Attr{ModTime: time.Unix(1e9+int64(i), 0), Mode: 0o600, SetMode: i%2 == 0})
		}
		trips(many/64+1, func() { wantErrs(t, "set", c.SetAttrSome(ctx, paths, attrs), make([]error, many)...) })
		trips(1, func() {
			looked := c.StatSome(ctx, []string{"d/-c/file17", "none", "d/a b", ""})
			wantErrs(t, "stat", []error{looked[0].Err, looked[1].Err, looked[2].Err, looked[3].Err}, nil, fs.ErrNotExist, nil, nil)
			if f, d := looked[0].Info, looked[2].Info; f.Name != "file17" || f.ModTime.Unix() != 1e9+17 || d.Name != "a b" || !d.IsDir() || d.Mode.Perm() == 0 {
				t.Errorf("stat: %+v, %+v", f, d)
			}
		})
		when := time.Date(2020, 7, 1, 12, 0, 0, 0, time.UTC) // in another half of the year than some servers
		wantErrs(t, "set", c.SetAttrSome(ctx, []string{"d/a b", "none", "file", "d"},
			[]uftp.Attr{{ModTime: when}, {ModTime: when}, {ModTime: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}, {ModTime: when, Mode: 0o750, SetMode: true}}),
			nil, fs.ErrNotExist, fs.ErrInvalid, nil)
		for name, want := range map[string]time.Time{"d/a b": when, "d": when, "d/-c/file17": time.Unix(1e9+17, 0), "d/-c/file18": time.Unix(1e9+18, 0)} {
			fi, err := os.Stat(filepath.Join(s.Dir(), name))
			check(t, err)
			if !fi.ModTime().Equal(want) {
				t.Errorf("%s is of %v, want %v", name, fi.ModTime(), want)
			}
			if want := fs.FileMode(0o600); name == "d/-c/file18" && fi.Mode().Perm() != want {
				t.Errorf("%s: %v, want %v", name, fi.Mode(), want)
			}
		}

		what := []uftp.Removal{{Path: "d/-c"}, {Path: "d/-c", Dir: true}, {Path: "none"}, {Path: "file", Dir: true}}
		want := []error{syscall.EISDIR, syscall.ENOTEMPTY, fs.ErrNotExist, syscall.ENOTDIR}
		for _, path := range paths {
			what, want = append(what, uftp.Removal{Path: path}), append(want, nil)
		}
		what = append(what, uftp.Removal{Path: "d/-c", Dir: true}, uftp.Removal{Path: "d/a b", Dir: true}, uftp.Removal{Path: "d", Dir: true})
		trips(many/64+1, func() { wantErrs(t, "remove", c.RemoveSome(ctx, what), append(want, nil, nil, nil)...) })
		if _, err := os.Stat(filepath.Join(s.Dir(), "d")); !os.IsNotExist(err) {
			t.Errorf("after all: %v", err)
		}
		for _, err := range [][]error{c.RemoveSome(ctx, nil), c.MkdirSome(ctx, nil), c.SetAttrSome(ctx, nil, nil)} {
			if len(err) != 0 {
				t.Errorf("nothing to do: %v", err)
			}
		}
	})
}

// TestSetInOrder: what is in a directory is set before the directory, also where it
// cannot go in one packet.
func TestSetInOrder(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		s.WriteFile(t, "p/a b", nil)
		s.WriteFile(t, "q/c d/e", nil)
		s.Chown(t)
		when := time.Unix(1e9, 0)
		a := uftp.Attr{ModTime: when}
		closed := uftp.Attr{ModTime: when, Mode: 0o600, SetMode: true}
		wantErrs(t, "set", c.SetAttrSome(t.Context(), []string{"p/a b", "p", "q/c d", "q"}, []uftp.Attr{a, a, a, closed}), nil, nil, nil, nil)
		for _, name := range []string{"p/a b", "p", "q/c d", "q"} {
			fi, err := os.Stat(filepath.Join(s.Dir(), name))
			check(t, err)
			if !fi.ModTime().Equal(when) {
				t.Errorf("%s is of %v, want %v", name, fi.ModTime(), when)
			}
		}
	})
}

// TestSomeAgain cuts connections at each of the commands, before and after the server
// has obeyed.
func TestSomeAgain(t *testing.T) {
	t.Parallel()
	for _, fault := range []uftptest.Fault{{Kill: true}, {LoseReply: true}} {
		for _, skip := range []int{0, 1, 5, 7} {
			for _, verb := range []string{"MKD", "MFMT", "DELE", "RMD"} {
				fault := fault
				fault.Skip, fault.Verb = skip, verb
				t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
					t.Parallel()
					s := uftptest.Start(t, uftptest.Config{})
					c := open(t, s, func(c *uftp.Config) { c.IOTimeout = 4 * time.Second })
					ctx := t.Context()
					s.Faults().Inject(1, fault)
					var dirs, files []string
					var attrs []uftp.Attr
					var what []uftp.Removal
					for i := range 6 {
						dirs = append(dirs, fmt.Sprint("d", i))
						files = append(files, fmt.Sprintf("d%d/f", i))
						attrs = append(attrs, uftp.Attr{ModTime: time.Unix(1e9, 0)})
						what = append(what, uftp.Removal{Path: files[i]}, uftp.Removal{Path: dirs[i], Dir: true})
					}
					none := make([]error, len(what))
					wantErrs(t, "mkdir", c.MkdirSome(ctx, dirs), none...)
					for _, name := range files {
						s.WriteFile(t, name, nil)
					}
					wantErrs(t, "set", c.SetAttrSome(ctx, files, attrs), none...)
					wantErrs(t, "remove", c.RemoveSome(ctx, what), none...)
					if left, err := os.ReadDir(s.Dir()); err != nil || len(left) > 0 {
						t.Errorf("left: %v, %v", left, err)
					}
				})
			}
		}
	}
	t.Run("what was answered counts", func(t *testing.T) {
		t.Parallel()
		s := uftptest.Start(t, uftptest.Config{})
		s.WriteFile(t, "old/f", nil)
		c := open(t, s, func(c *uftp.Config) { c.IOTimeout = 4 * time.Second })
		s.Faults().Inject(1, uftptest.Fault{Kill: true, Verb: "MKD", Skip: 3})
		s.Faults().Inject(1, uftptest.Fault{Kill: true, Verb: "DELE", Skip: 3})
		wantErrs(t, "mkdir", c.MkdirSome(t.Context(), []string{"old", "a", "b", "c", "d"}), fs.ErrExist, nil, nil, nil, nil)
		for _, name := range []string{"1", "2", "3", "4"} {
			s.WriteFile(t, name, nil)
		}
		what := []uftp.Removal{{Path: "never"}, {Path: "1"}, {Path: "2"}, {Path: "3"}, {Path: "4"}}
		wantErrs(t, "remove", c.RemoveSome(t.Context(), what), fs.ErrNotExist, nil, nil, nil, nil)
	})
	t.Run("made and not seen", func(t *testing.T) {
		t.Parallel()
		s := uftptest.Start(t, uftptest.Config{})
		c := open(t, s)
		check(t, c.Connect(t.Context()))
		s.Faults().Inject(-1, uftptest.Fault{Verb: "STAT", Errno: syscall.EACCES})
		check(t, c.Mkdir(t.Context(), "d"))
		if fi, err := os.Stat(filepath.Join(s.Dir(), "d")); err != nil || !fi.IsDir() {
			t.Errorf("%v, %v", fi, err)
		}
		s.Faults().Clear()
	})
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		s := uftptest.Start(t, uftptest.Config{})
		c := open(t, s, func(c *uftp.Config) { c.IOTimeout = time.Second })
		check(t, c.Connect(t.Context()))
		check(t, s.Close())
		wantErrs(t, "mkdir", c.MkdirSome(t.Context(), []string{"a", "", "b"}), uftp.ErrUnavailable, fs.ErrInvalid, uftp.ErrUnavailable)
	})
	t.Run("only reads", func(t *testing.T) {
		t.Parallel()
		s := uftptest.Start(t, uftptest.Config{})
		c := open(t, s, func(c *uftp.Config) { c.ReadOnly = true })
		wantErrs(t, "remove", c.RemoveSome(t.Context(), []uftp.Removal{{Path: "a"}}), fs.ErrPermission)
	})
}
