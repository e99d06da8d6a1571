package fusefs_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// write writes a file or fails the test.
func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wrote checks what a write returns.
func wrote(t *testing.T) func(int, error) {
	return func(_ int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// wantFile checks what a file contains.
func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s contains %.40q, %v; want %.40q", path, got, err, want)
	}
}

func openFile(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// age makes a served file old enough for its time to tell versions apart.
func age(t testing.TB, path string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestUnlinkOpen(t *testing.T) {
	m := mountDir(t, nil)
	if err := os.Mkdir(m.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, m.path("d/f"), os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.path("d/f")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, m.path("d")); len(got) != 0 {
		t.Errorf("listed after unlink: %q", got)
	}
	if hidden := names(t, m.served("d")); len(hidden) != 1 || !strings.HasPrefix(hidden[0], ".uftp-hidden-") {
		t.Errorf("on the server: %q", hidden)
	} else if _, err := os.Stat(m.path("d/" + hidden[0])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the hidden name is found: %v", err)
	}
	if _, err := f.WriteAt([]byte("after"), 6); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 20)
	if n, err := f.ReadAt(p, 0); string(p[:n]) != "beforeafter" || err != io.EOF {
		t.Errorf("read %q, %v", p[:n], err)
	}
	write(t, m.path("d/f"), "another")
	wantFile(t, m.path("d/f"), "another")
	if err := os.Remove(m.path("d/f")); err != nil {
		t.Fatal(err)
	}
	// A directory that holds nothing but what nobody sees is empty.
	if err := os.Remove(m.path("d")); err != nil {
		t.Errorf("rmdir: %v", err)
	}
	if n, err := f.ReadAt(p, 0); string(p[:n]) != "beforeafter" || err != io.EOF {
		t.Errorf("after rmdir: read %q, %v", p[:n], err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hidden file removed", func() bool { return len(names(t, m.root)) == 0 })
	eventually(t, "nodes forgotten", func() bool { return m.fs.Stats().Handles == 0 && m.fs.Stats().Spool.Files == 0 })
}

// TestCloseDuringUnlink: a file whose last handle goes while it gets a hidden
// name is removed, too.
func TestCloseDuringUnlink(t *testing.T) {
	hook := &renameHook{begun: make(chan struct{}), goOn: make(chan struct{})}
	m := mountDir(t, func(cfg *fusefs.Config) {
		hook.Remote = cfg.Remote
		cfg.Remote = hook
	})
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- os.Remove(m.path("f")) }()
	<-hook.begun
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "handle closed", func() bool { return m.fs.Stats().Handles == 0 })
	close(hook.goOn)
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	eventually(t, "hidden file removed", func() bool { return len(names(t, m.root)) == 0 })
	eventually(t, "node forgotten", func() bool { return m.fs.Stats().Nodes == 1 })
}

// renameHook holds a rename up before it reaches the server.
type renameHook struct {
	fusefs.Remote
	begun, goOn chan struct{}
}

func (r *renameHook) Rename(ctx context.Context, from, to string) error {
	close(r.begun)
	<-r.goOn
	return r.Remote.Rename(ctx, from, to)
}

// TestRmdirForeign keeps hidden files where they are if the directory is not
// empty otherwise.
func TestRmdirForeign(t *testing.T) {
	m := mountDir(t, nil)
	mkdir(t, m.path("d"))
	f := openFile(t, m.path("d/f"), os.O_RDWR|os.O_CREATE)
	os.Remove(m.path("d/f"))
	write(t, m.served("d/foreign"), "x")
	if err := syscall.Rmdir(m.path("d")); err != syscall.ENOTEMPTY {
		t.Errorf("rmdir: %v, want ENOTEMPTY", err)
	}
	if got := names(t, m.served("d")); len(got) != 2 {
		t.Errorf("on the server: %q", got)
	}
	f.Close()
	eventually(t, "hidden file removed", func() bool { return slices.Equal(names(t, m.served("d")), []string{"foreign"}) })
}

func TestRename(t *testing.T) {
	m := mountDir(t, nil)
	for _, d := range []string{"a", "a/b", "c"} {
		if err := os.Mkdir(m.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := openFile(t, m.path("a/b/f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("one "))
	if err := os.Rename(m.path("a"), m.path("c/a2")); err != nil {
		t.Fatal(err)
	}
	wrote(t)(f.WriteString("two"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, m.path("c/a2/b/f"), "one two")
	wantFile(t, m.served("c/a2/b/f"), "one two")

	// Over an open file, which keeps its content.
	write(t, m.path("old"), "old content")
	old := openFile(t, m.path("old"), os.O_RDONLY)
	write(t, m.path("new"), "new content!")
	if err := os.Rename(m.path("new"), m.path("old")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, m.path("old"), "new content!")
	if b, err := io.ReadAll(old); string(b) != "old content" || err != nil {
		t.Errorf("the replaced file: %q, %v", b, err)
	}
	if got := names(t, m.dir); !slices.Equal(got, []string{"c", "old"}) {
		t.Errorf("listed: %q", got)
	}
	old.Close()
	eventually(t, "hidden file removed", func() bool { return len(names(t, m.root)) == 2 })

	// Flags and refusals.
	write(t, m.path("x"), "x")
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, m.path(from), unix.AT_FDCWD, m.path(to), flags)
	}
	mkdir(t, m.path("empty"))
	for _, tc := range []struct {
		from, to string
		flags    uint
		want     error
	}{
		{"x", "old", unix.RENAME_NOREPLACE, syscall.EEXIST},
		{"x", "y", unix.RENAME_NOREPLACE, nil},
		{"y", "old", unix.RENAME_EXCHANGE, syscall.EINVAL},
		{"y", "c", 0, syscall.EISDIR},
		{"empty", "y", 0, syscall.ENOTDIR},
		{"empty", "c", 0, syscall.ENOTEMPTY},
		{"c", "c/a2/c", 0, syscall.EINVAL},
		{"none", "z", 0, syscall.ENOENT},
		{"c", "empty", 0, nil},
		{"y", "y", 0, nil},
	} {
		if err := rename(tc.from, tc.to, tc.flags); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("rename %s to %s with %d: %v, want %v", tc.from, tc.to, tc.flags, err, tc.want)
		}
	}
	wantFile(t, m.path("empty/a2/b/f"), "one two")
}

// TestRenameFailsOverOpen: what was hidden comes back when the rename fails.
func TestRenameFailsOverOpen(t *testing.T) {
	m := mountDir(t, nil)
	write(t, m.path("a"), "a")
	write(t, m.path("b"), "b")
	b := openFile(t, m.path("b"), os.O_RDONLY)
	m.remote.setFault(func(_ context.Context, op, path string) error {
		if op == "rename" && path == "a" {
			return syscall.EXDEV
		}
		return nil
	})
	if err := os.Rename(m.path("a"), m.path("b")); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("rename: %v", err)
	}
	m.remote.setFault(nil)
	wantFile(t, m.path("b"), "b")
	if got := names(t, m.root); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("on the server: %q", got)
	}
	if fi, err := b.Stat(); err != nil || fi.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("stat of the open file: %+v, %v", fi, err)
	}
}

func TestCloseToOpen(t *testing.T) {
	m := mountDir(t, nil)
	write(t, m.served("f"), "version 1")
	age(t, m.served("f"), time.Hour)
	wantFile(t, m.path("f"), "version 1")
	before := m.remote.calls.Load()
	wantFile(t, m.path("f"), "version 1") // from the kernel's cache
	if reads := m.fs.Stats().Cache.ReadBytes; reads != int64(len("version 1")) {
		t.Errorf("the kernel read %d bytes for two opens", reads)
	}
	if n := m.remote.calls.Load() - before; n > 2 {
		t.Errorf("%d calls to open an unchanged file", n)
	}
	write(t, m.served("f"), "version 2") // same size, another second
	wantFile(t, m.path("f"), "version 2")
	// Twice within one second, same size: caught because caches that young are
	// not trusted.
	write(t, m.served("f"), "version 3")
	wantFile(t, m.path("f"), "version 3")
	write(t, m.served("f"), "version 4, longer")
	wantFile(t, m.path("f"), "version 4, longer")
	if err := os.Remove(m.served("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Open(m.path("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of a removed file: %v", err)
	}
}

// TestOneOpenOneVersion changes a file under its reader.
func TestOneOpenOneVersion(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // more than is read ahead
	for name, change := range map[string]func(t *testing.T, path string){
		"rewritten": func(t *testing.T, path string) { write(t, path, strings.ToUpper(big)) },
		"shrunk":    func(t *testing.T, path string) { write(t, path, big[:1<<19]) },
		"replaced": func(t *testing.T, path string) {
			write(t, path+".new", strings.ToUpper(big))
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
		"removed": func(t *testing.T, path string) { os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			m := mountDir(t, nil)
			write(t, m.served("f"), big)
			age(t, m.served("f"), time.Hour)
			f := openFile(t, m.path("f"), os.O_RDONLY)
			p := make([]byte, 4096)
			if _, err := f.ReadAt(p, 0); err != nil || string(p) != big[:4096] {
				t.Fatalf("first read: %v", err)
			}
			change(t, m.served("f"))
			if n, err := f.ReadAt(p, 1<<20-4096); !errors.Is(err, syscall.ESTALE) {
				t.Errorf("read of a changed file: %q, %v; want ESTALE", p[:min(n, 16)], err)
			}
			if name == "removed" {
				return
			}
			// Who opens it now gets the new version, and that does not reach
			// the old handle through the kernel's cache: there it finds, if
			// anything, what it opened.
			want, _ := os.ReadFile(m.served("f"))
			g := openFile(t, m.path("f"), os.O_RDONLY)
			if got, err := io.ReadAll(g); err != nil || string(got) != string(want) {
				t.Errorf("a new open reads something else (%v)", err)
			}
			if n, err := f.ReadAt(p, 8192); !errors.Is(err, syscall.ESTALE) && string(p[:n]) != big[8192:8192+4096] {
				t.Errorf("the old handle reads %q, %v after a new open", p[:min(n, 16)], err)
			}
		})
	}
}

func TestWritersSeeEachOther(t *testing.T) {
	m := mountDir(t, nil)
	a := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	b := openFile(t, m.path("f"), os.O_RDWR)
	c := openFile(t, m.path("f"), os.O_WRONLY|os.O_APPEND)
	wrote(t)(a.WriteAt([]byte("aaaa"), 0))
	wrote(t)(b.WriteAt([]byte("bb"), 1))
	wrote(t)(c.WriteString("cc"))
	wrote(t)(a.WriteAt([]byte("d"), 8))
	p := make([]byte, 20)
	for _, f := range []*os.File{a, b} {
		if n, err := f.ReadAt(p, 0); string(p[:n]) != "abbacc\x00\x00d" || err != io.EOF {
			t.Errorf("read %q, %v", p[:n], err)
		}
	}
	if fi, err := os.Stat(m.path("f")); err != nil || fi.Size() != 9 {
		t.Errorf("stat: %v, %v", fi, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, m.served("f"), "abbacc\x00\x00d")
}

// TestAppendToGrown appends where the server's end is, not where the kernel
// thinks it is.
func TestAppendToGrown(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout = time.Hour; c.Spec.EntryTimeout = time.Hour })
	write(t, m.path("log"), "1\n")
	write(t, m.served("log"), "1\nothers\n")
	f := openFile(t, m.path("log"), os.O_WRONLY|os.O_APPEND)
	wrote(t)(f.WriteString("2\n"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, m.served("log"), "1\nothers\n2\n")
	wantFile(t, m.path("log"), "1\nothers\n2\n")
}

func TestModes(t *testing.T) {
	m := mountDir(t, nil)
	// Created unwritable, as git creates its objects, and written all the same.
	fd, err := syscall.Open(m.path("object"), syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL, 0o444)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "object")
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantMode := func(path string, want os.FileMode) {
		t.Helper()
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, fi.Mode(), err, want)
		}
	}
	wantMode(m.path("object"), 0o444)
	wantMode(m.served("object"), 0o444)
	wantFile(t, m.served("object"), "content")
	if _, err := os.OpenFile(m.path("object"), os.O_WRONLY, 0); !errors.Is(err, syscall.EACCES) {
		t.Errorf("open for writing what the server does not let be written: %v", err)
	}
	if err := os.Chmod(m.path("object"), 0o640); err != nil {
		t.Fatal(err)
	}
	wantMode(m.served("object"), 0o640)
	wantMode(m.path("object"), 0o640)
	if err := os.Mkdir(m.path("private"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantMode(m.served("private"), fs.ModeDir|0o700)
	if err := unix.Mknod(m.path("node"), unix.S_IFREG|0o600, 0); err != nil {
		t.Fatal(err)
	}
	wantMode(m.served("node"), 0o600)
	if _, err := syscall.Open(m.path("node"), syscall.O_CREAT|syscall.O_EXCL, 0o600); err != syscall.EEXIST {
		t.Errorf("exclusive creation of what is there: %v", err)
	}
	if err := syscall.Mkdir(m.path("node"), 0o600); err != syscall.EEXIST {
		t.Errorf("mkdir of what is there: %v", err)
	}
}

func TestTimes(t *testing.T) {
	m := mountDir(t, nil)
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("data that is not on the server yet"))
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{{Sec: 5}, {Sec: then.Unix()}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{m.path("f"), m.served("f")} {
		if fi, err := os.Stat(path); err != nil || !fi.ModTime().Equal(then) {
			t.Errorf("%s: %v, %v; want %v", path, fi.ModTime(), err, then)
		}
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, m.path("f"), []unix.Timespec{{Sec: 9}, omit}, 0); err != nil {
		t.Errorf("setting the access time: %v", err)
	}
	if fi, _ := os.Stat(m.served("f")); !fi.ModTime().Equal(then) {
		t.Errorf("the access time changed the other: %v", fi.ModTime())
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, m.path("f"), []unix.Timespec{omit, {Nsec: unix.UTIME_NOW}}, 0); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(m.path("f")); time.Since(fi.ModTime()).Abs() > 5*time.Second {
		t.Errorf("UTIME_NOW gives %v", fi.ModTime())
	}
}

func TestRefusals(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.UID, c.Spec.GID = 7, 8 })
	write(t, m.path("f"), "x")
	p := m.path("f")
	for name, tc := range map[string]struct {
		err, want error
	}{
		"chown to the same":  {os.Chown(p, 7, 8), nil},
		"chown to nobody":    {os.Chown(p, -1, -1), nil},
		"chown":              {os.Chown(p, 9, -1), syscall.EPERM},
		"chgrp":              {os.Chown(p, -1, 9), syscall.EPERM},
		"symlink":            {os.Symlink("x", m.path("l")), syscall.ENOTSUP},
		"link":               {os.Link(p, m.path("l")), syscall.ENOTSUP},
		"fifo":               {unix.Mkfifo(m.path("l"), 0o600), syscall.ENOTSUP},
		"device":             {unix.Mknod(m.path("l"), unix.S_IFCHR|0o600, 0x103), syscall.ENOTSUP},
		"setxattr":           {unix.Setxattr(p, "user.a", []byte("b"), 0), syscall.ENOTSUP},
		"long name":          {os.Mkdir(m.path(strings.Repeat("n", 256)), 0o755), syscall.ENAMETOOLONG},
		"line break, create": {os.Mkdir(m.path("a\nb"), 0o755), syscall.EINVAL},
		"line break, lookup": {os.Remove(m.path("a\nb")), syscall.ENOENT},
		"rmdir of a file":    {syscall.Rmdir(p), syscall.ENOTDIR},
		"unlink of a dir":    {syscall.Unlink(m.dir), syscall.EISDIR},
		"truncate of a dir":  {os.Truncate(m.dir, 0), syscall.EISDIR},
	} {
		if !errors.Is(tc.err, tc.want) || (tc.err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.want)
		}
	}
	if got := names(t, m.root); !slices.Equal(got, []string{"f"}) {
		t.Errorf("on the server: %q", got)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil || st.Bavail == 0 || st.Namelen != 255 {
		t.Errorf("statfs: %+v, %v", st, err)
	}
}

func TestReadOnly(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.ReadOnly = true })
	write(t, m.served("f"), "content")
	mkdir(t, m.served("d"))
	wantFile(t, m.path("f"), "content")
	_, openErr := os.OpenFile(m.path("f"), os.O_RDWR, 0)
	_, createErr := os.Create(m.path("g"))
	for name, err := range map[string]error{
		"open": openErr, "create": createErr,
		"truncate": os.Truncate(m.path("f"), 0),
		"mkdir":    os.Mkdir(m.path("e"), 0o755),
		"rmdir":    syscall.Rmdir(m.path("d")),
		"unlink":   syscall.Unlink(m.path("f")),
		"rename":   os.Rename(m.path("f"), m.path("g")),
		"chmod":    os.Chmod(m.path("f"), 0o600),
		"chtimes":  os.Chtimes(m.path("f"), time.Now(), time.Now()),
		"mknod":    unix.Mknod(m.path("n"), unix.S_IFREG|0o600, 0),
		"symlink":  os.Symlink("f", m.path("l")),
		"link":     os.Link(m.path("f"), m.path("l")),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
}

// TestListing: what is listed is what was there when the reading began.
func TestListing(t *testing.T) {
	m := mountDir(t, nil)
	const many = 3000
	for i := range many {
		write(t, m.served("file"+strings.Repeat("x", 20)+string(rune('a'+i%26))+strings.Repeat("y", i/26)), "")
	}
	d, err := os.Open(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, err := d.Readdirnames(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range first[:50] {
		if err := os.Remove(m.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, m.path("new"), "")
	rest, err := d.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range append(first, rest...) {
		seen[name]++
	}
	if len(seen) != many || seen["new"] > 0 {
		t.Errorf("%d names seen, want %d; new %d times", len(seen), many, seen["new"])
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s seen %d times", name, n)
		}
	}
	if _, err := d.Seek(0, io.SeekStart); err != nil { // rewinddir
		t.Fatal(err)
	}
	again, err := d.Readdirnames(-1)
	if err != nil || len(again) != many-50+1 || !slices.Contains(again, "new") {
		t.Errorf("after rewinding %d names, %v", len(again), err)
	}
	// Nothing that was removed has come back with the listing.
	for _, name := range first[:50] {
		if _, err := os.Lstat(m.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// TestListingFillsAttributes: ls -l costs one call.
func TestListingFillsAttributes(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = time.Minute, time.Minute })
	for i := range 500 {
		write(t, m.served("f"+string(rune('a'+i%26))+strings.Repeat("y", i/26)), "12345")
	}
	before := m.remote.calls.Load()
	entries, err := os.ReadDir(m.dir)
	if err != nil || len(entries) != 500 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if fi, err := e.Info(); err != nil || fi.Size() != 5 {
			t.Fatalf("%s: %v, %v", e.Name(), fi, err)
		}
	}
	if n := m.remote.calls.Load() - before; n > 3 {
		t.Errorf("%d calls", n)
	}
}

func TestForeignChangesShow(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = 0, 0 })
	write(t, m.path("f"), "x")
	write(t, m.served("f"), "longer")
	if fi, err := os.Stat(m.path("f")); err != nil || fi.Size() != 6 {
		t.Errorf("stat: %v, %v", fi, err)
	}
	os.Remove(m.served("f"))
	mkdir(t, m.served("f"))
	if fi, err := os.Stat(m.path("f")); err != nil || !fi.IsDir() {
		t.Errorf("a file that became a directory: %v, %v", fi, err)
	}
	os.Remove(m.served("f"))
	if _, err := os.Stat(m.path("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(m.root, "f")); err != nil {
		t.Fatal(err)
	}
}
