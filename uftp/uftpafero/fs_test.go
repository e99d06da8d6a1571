package uftpafero_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/afero"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpafero"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, s *uftptest.Server) afero.Fs {
	tb.Helper()
	c, err := uftp.New(uftp.Config{
		AuthURL: s.AuthURL(), BaseDir: s.Dir(), IOTimeout: 20 * time.Second,
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
	})
	check(tb, err)
	tb.Cleanup(func() { check(tb, c.Close()) })
	return uftpafero.New(uftpfs.New(tb.Context(), c))
}

// TestBehaviour does the same to our Fs and to afero's own for the local disk,
// and compares what comes of it.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		got := story(t, open(t, s))
		want := story(t, afero.NewBasePathFs(afero.NewOsFs(), t.TempDir()))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-local disk +ours\n%s", d)
		}
	})
}

// story returns what happened, in words.
func story(t *testing.T, f afero.Fs) []string {
	t.Helper()
	var told []string
	tell := func(what string, err error) {
		for _, kind := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrClosed} {
			if errors.Is(err, kind) {
				told = append(told, what+": "+kind.Error())
				return
			}
		}
		if err != nil {
			what += ": an error"
		}
		told = append(told, what)
	}
	tell("mkdir", f.Mkdir("/dir", 0o755))
	tell("mkdir again", f.Mkdir("/dir", 0o755))
	tell("mkdir all", f.MkdirAll("dir/a/b/c", 0o755))
	tell("write", afero.WriteFile(f, "/dir/a/file", []byte("hello"), 0o644))
	tell("write into nothing", afero.WriteFile(f, "/none/file", []byte("hello"), 0o644))
	data, err := afero.ReadFile(f, "dir/a/../a/file")
	tell("read "+string(data), err)
	_, err = f.Stat("/absent")
	tell("stat", err)
	_, err = f.Open("/absent")
	tell("open", err)
	_, err = f.OpenFile("/dir/a/file", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	tell("create exclusively", err)

	file, err := f.OpenFile("/dir/a/file", os.O_RDWR|os.O_APPEND, 0)
	tell("open to append", err)
	_, err = file.WriteString(", world")
	tell("append", err)
	tell("sync", file.Sync())
	info, err := file.Stat()
	tell("size "+string(rune('0'+info.Size()%10)), err)
	tell(file.Name(), file.Close())
	tell("close again", file.Close())

	file, err = f.Create("/dir/new")
	tell("create", err)
	_, err = file.WriteAt([]byte("xyz"), 2)
	tell("write at 2", err)
	_, err = file.Seek(0, io.SeekStart)
	tell("seek", err)
	data, err = io.ReadAll(file)
	tell("read "+string(bytes.ReplaceAll(data, []byte{0}, []byte("0"))), err)
	tell("truncate", file.Truncate(3))
	tell("close", file.Close())
	data, err = afero.ReadFile(f, "/dir/new")
	tell("read "+string(bytes.ReplaceAll(data, []byte{0}, []byte("0"))), err)

	tell("chmod", f.Chmod("/dir/new", 0o600))
	when := time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC)
	tell("chtimes", f.Chtimes("/dir/new", when, when))
	info, err = f.Stat("/dir/new")
	tell(info.Mode().String()+info.ModTime().UTC().String(), err)
	tell("rename", f.Rename("/dir/new", "/dir/other"))
	tell("rename what is not there", f.Rename("/dir/new", "/dir/other"))
	tell("remove full directory", f.Remove("/dir"))

	check(t, afero.Walk(f, "/", func(name string, info os.FileInfo, err error) error {
		tell(filepath.ToSlash(name)+" "+info.Mode().Type().String(), err)
		return nil
	}))
	dir, err := f.Open("/dir")
	tell("open directory", err)
	names, err := dir.Readdirnames(-1)
	tell("names", err)
	told = append(told, slices.Sorted(slices.Values(names))...)
	infos, err := dir.Readdir(1)
	tell("behind the end", nil)
	if len(infos) != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%v, %v", infos, err)
	}
	tell("close", dir.Close())
	tell("remove", f.Remove("/dir/other"))
	tell("remove all", f.RemoveAll("/dir"))
	tell("remove all of nothing", f.RemoveAll("/dir"))
	exists, err := afero.Exists(f, "/dir")
	if exists {
		t.Error("removed and there")
	}
	tell("exists", err)
	return told
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	f := open(t, s)
	tmp, err := afero.TempFile(f, "/", "t-*")
	check(t, err)
	check(t, tmp.Close())
	dir, err := afero.TempDir(f, "/", "d-")
	check(t, err)
	check(t, afero.SafeWriteReader(f, dir+"/a/b", bytes.NewReader([]byte("content"))))
	if ok, err := afero.FileContainsBytes(f, dir+"/a/b", []byte("tent")); !ok || err != nil {
		t.Error(ok, err)
	}
	matches, err := afero.Glob(f, "/t-*")
	if len(matches) != 1 || err != nil {
		t.Error(matches, err)
	}
	if err := f.Chown("/", 0, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := fs.ReadFile(afero.NewIOFS(f), filepath.Base(tmp.Name())); err != nil {
		t.Error(err)
	}
}
