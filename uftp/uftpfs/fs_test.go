package uftpfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns the file system of what s serves.
func open(tb testing.TB, s *uftptest.Server, options ...func(*uftp.Config)) *uftpfs.FS {
	tb.Helper()
	cfg := uftp.Config{
		AuthURL: s.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
		BaseDir:   s.Dir(),
		IOTimeout: 20 * time.Second,
	}
	for _, o := range options {
		o(&cfg)
	}
	c, err := uftp.New(cfg)
	check(tb, err)
	tb.Cleanup(func() { check(tb, c.Close()) })
	return uftpfs.New(tb.Context(), c)
}

func ok[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		check(tb, err)
		return v
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wantErr checks an error's cause, and that it is one of a path.
func wantErr(tb testing.TB, err, cause error) {
	tb.Helper()
	if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, cause) {
		tb.Errorf("error is %v (%T), want a PathError of %v", err, err, cause)
	}
}

// pattern returns n bytes that differ at every offset.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func onServer(tb testing.TB, s *uftptest.Server, name string) []byte {
	tb.Helper()
	return ok[[]byte](tb)(os.ReadFile(filepath.Join(s.Dir(), name)))
}

func TestFS(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "hello.txt", []byte("hello, world\n"))
		s.WriteFile(t, "a b/with blanks .txt", []byte("x"))
		s.WriteFile(t, "a b/empty", nil)
		s.WriteFile(t, "deep/er/ünï", pattern(3000, 1))
		f := open(t, s)
		want := []string{"hello.txt", "a b/with blanks .txt", "a b/empty", "deep/er/ünï"}
		if err := fstest.TestFS(f, want...); err != nil {
			t.Error(err)
		}
		sub := ok[fs.FS](t)(fs.Sub(f, "deep"))
		if err := fstest.TestFS(sub, "er/ünï"); err != nil {
			t.Error(err)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "f", []byte("x"))
		s.WriteFile(t, "d/f", []byte("x"))
		f := open(t, s)
		for _, tt := range []struct {
			name string
			do   func() error
			want error
		}{
			{"open absent", func() error { _, err := f.Open("absent"); return err }, fs.ErrNotExist},
			{"open a bad name", func() error { _, err := f.Open("/f"); return err }, fs.ErrInvalid},
			{"open a name with a line break", func() error { _, err := f.Open("a\nb"); return err }, fs.ErrInvalid},
			{"create in nothing", func() error { _, err := f.Create("no/f"); return err }, fs.ErrNotExist},
			{"create a directory", func() error { _, err := f.Create("d"); return err }, syscall.EISDIR},
			{"create what there is", func() error { _, err := f.OpenFile("f", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0); return err }, fs.ErrExist},
			{"read a directory", func() error { _, err := f.ReadFile("d"); return err }, syscall.EISDIR},
			{"list a file", func() error { _, err := f.ReadDir("f"); return err }, syscall.ENOTDIR},
			{"remove a full directory", func() error { return f.Remove("d") }, syscall.ENOTEMPTY},
			{"remove absent", func() error { return f.Remove("absent") }, fs.ErrNotExist},
			{"remove all there is", func() error { return f.RemoveAll(".") }, fs.ErrInvalid},
			{"mkdir over a file", func() error { return f.MkdirAll("f", 0) }, syscall.ENOTDIR},
			{"mkdir below a file", func() error { return f.MkdirAll("f/x", 0) }, syscall.ENOTDIR},
			{"rename absent", func() error { return f.Rename("absent", "g") }, fs.ErrNotExist},
			{"rename to a bad name", func() error { return f.Rename("f", "../g") }, fs.ErrInvalid},
		} {
			t.Run(tt.name, func(t *testing.T) { wantErr(t, tt.do(), tt.want) })
		}
		got := ok[fs.File](t)(f.Open("f")).(*uftpfs.File)
		_, err := got.Write([]byte("x"))
		wantErr(t, err, syscall.EBADF)
		_, err = got.ReadAt(make([]byte, 1), -1)
		wantErr(t, err, fs.ErrInvalid)
		_, err = got.ReadDir(-1)
		wantErr(t, err, syscall.ENOTDIR)
		check(t, got.Close())
		wantErr(t, got.Close(), fs.ErrClosed)
		_, err = got.Read(make([]byte, 1))
		wantErr(t, err, fs.ErrClosed)
	})
}

func TestNoBase(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	f := open(t, s, func(c *uftp.Config) { c.BaseDir = filepath.Join(s.Dir(), "absent") })
	_, err := f.Create("f")
	wantErr(t, err, fs.ErrNotExist)
	if !strings.Contains(err.Error(), "base directory") {
		t.Errorf("%v does not name the base directory", err)
	}
	wantErr(t, f.RemoveAll("f"), fs.ErrNotExist)
	wantErr(t, f.MkdirAll("a/b", 0), fs.ErrNotExist)
}

func TestChanges(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		f := open(t, s)
		check(t, f.MkdirAll("a/b c/d", 0o777))
		check(t, f.MkdirAll("a/b c/d", 0o777))
		if m := ok[fs.FileInfo](t)(f.Stat("a/b c")).Mode(); m != fs.ModeDir|0o755 {
			t.Errorf("mode of a directory is %v", m)
		}
		check(t, f.WriteFile("a/f", []byte("data"), 0o666))
		if m := ok[fs.FileInfo](t)(f.Stat("a/f")).Mode(); m != 0o644 {
			t.Errorf("mode of a file is %v", m)
		}
		check(t, f.WriteFile("a/f", []byte("da"), 0o600))
		if m := ok[fs.FileInfo](t)(f.Stat("a/f")); m.Mode() != 0o644 || m.Size() != 2 {
			t.Errorf("after writing again: %v", m)
		}
		file := ok[*uftpfs.File](t)(f.WithUmask(0).OpenFile("a/g", os.O_CREATE|os.O_WRONLY, 0o622))
		check(t, file.Close())
		if m := ok[fs.FileInfo](t)(f.Stat("a/g")).Mode(); m != 0o622 {
			t.Errorf("mode without umask is %v", m)
		}
		when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
		check(t, f.Chtimes("a/f", when))
		check(t, f.Chmod("a/f", 0o640))
		check(t, f.Truncate("a/f", 1))
		check(t, f.Rename("a/f", "a/b c/f"))
		got := ok[fs.FileInfo](t)(f.Stat("a/b c/f"))
		if got.Size() != 1 || got.Mode() != 0o640 || got.Name() != "f" || got.Sys().(uftp.Info).Size != 1 {
			t.Errorf("%v", got)
		}
		check(t, f.Chtimes("a/b c/f", when))
		if got := ok[fs.FileInfo](t)(f.Stat("a/b c/f")).ModTime(); !got.Equal(when) {
			t.Errorf("time is %v", got)
		}
		check(t, f.Remove("a/b c/d"))
		check(t, f.Remove("a/g"))
		sub := ok[*uftpfs.FS](t)(f.SubFS("a/b c"))
		check(t, sub.WriteFile("h", nil, 0))
		var names []string
		check(t, fs.WalkDir(f, ".", func(name string, _ fs.DirEntry, err error) error {
			names = append(names, name)
			return err
		}))
		if d := cmp.Diff([]string{".", "a", "a/b c", "a/b c/f", "a/b c/h"}, names); d != "" {
			t.Error(d)
		}
	})
}

func TestRemoveAll(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		for _, name := range []string{"kept/f", "tree/a", "tree/b/c", "tree/b/d/e", "tree/b/d/f", "tree/g"} {
			s.WriteFile(t, name, []byte("x"))
		}
		check(t, os.Symlink("../kept", filepath.Join(s.Dir(), "tree/link")))
		check(t, os.Symlink("../../kept", filepath.Join(s.Dir(), "tree/b/link")))
		f := open(t, s)
		check(t, f.RemoveAll("tree"))
		check(t, f.RemoveAll("tree"))
		if _, err := os.Lstat(filepath.Join(s.Dir(), "tree")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the tree is there: %v", err)
		}
		if got := onServer(t, s, "kept/f"); string(got) != "x" {
			t.Error("a link was followed")
		}
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	f := open(t, s)
	g := f.WithContext(ctx)
	file := ok[*uftpfs.File](t)(g.OpenFile("f", os.O_RDWR, 0))
	ok[int](t)(file.Write([]byte("y")))
	cancel()
	_, err := g.Stat("f")
	wantErr(t, err, context.Canceled)
	wantErr(t, file.Close(), context.Canceled)
	ok[fs.FileInfo](t)(f.Stat("f"))
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", []byte("x"))
	f := open(t, s, func(c *uftp.Config) { c.ReadOnly = true })
	wantErr(t, f.WriteFile("f", []byte("y"), 0), fs.ErrPermission)
	file := ok[*uftpfs.File](t)(f.OpenFile("f", os.O_WRONLY, 0))
	ok[int](t)(file.Write([]byte("y")))
	wantErr(t, file.Sync(), fs.ErrPermission)
	_, err := file.Write([]byte("z"))
	for range 2 { // however often it is asked
		_, err = file.ReadFrom(bytes.NewReader(pattern(100<<10, 1)))
	}
	wantErr(t, err, fs.ErrPermission)
	wantErr(t, file.Close(), fs.ErrPermission)
	if got := onServer(t, s, "f"); string(got) != "x" {
		t.Errorf("content %q", got)
	}
}

func TestDirectoryFile(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	for _, n := range []string{"b", "a", "c"} {
		s.WriteFile(t, n, nil)
	}
	d := ok[fs.File](t)(open(t, s).Open(".")).(*uftpfs.File)
	for range 2 {
		var names []string
		for {
			entries, err := d.ReadDir(2)
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
		}
		if d := cmp.Diff([]string{"a", "b", "c"}, names); d != "" {
			t.Error(d)
		}
		ok[int64](t)(d.Seek(0, io.SeekStart))
	}
	_, err := d.Read(make([]byte, 1))
	wantErr(t, err, syscall.EISDIR)
	check(t, d.Close())
}

// TestReadFileSizes has a server that announces more than there is memory.
func TestReadFileSizes(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	f := open(t, s, func(c *uftp.Config) { c.IOTimeout = time.Second })
	for _, size := range []int{0, 1, 1 << 20} {
		s.WriteFile(t, "f", bytes.Repeat([]byte("x"), size))
		if data, err := f.ReadFile("f"); err != nil || len(data) != size {
			t.Errorf("%d bytes of %d, %v", len(data), size, err)
		}
	}
	s.Faults().Inject(-1, uftptest.Fault{Verb: "RETR", Reply: "150 OK 4611686018427387904 bytes available for reading."})
	_, err := f.ReadFile("f")
	wantErr(t, err, uftp.ErrUnavailable)
}
