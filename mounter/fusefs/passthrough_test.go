package fusefs_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// passedSize is a file that is large enough, and ends within a page.
const passedSize = 1<<20 + 5000

// text returns size bytes that are all of one version.
func text(version byte, size int) string { return strings.Repeat(string(version), size) }

// mountPassed mounts a directory with a file "f", all of which is on the disk.
func mountPassed(t *testing.T) *diskMount {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "f"), text('a', passedSize))
	age(t, filepath.Join(root, "f"), time.Hour)
	m := mountDisk(t, root, filepath.Join(t.TempDir(), "cache"))
	m.fs.PassThrough(m.backer)
	m.pass(t, "f")
	return m
}

// pass reads a file until it is passed through.
func (m *diskMount) pass(t *testing.T, name string) {
	t.Helper()
	before := m.fs.Stats().Passthrough.Opens
	eventually(t, "it is passed through", func() bool {
		_, err := os.ReadFile(m.path(name))
		if errno := m.backer.err.Load(); errno != nil {
			t.Skipf("the kernel passes nothing through here: %v", errno)
		}
		return err != nil || m.fs.Stats().Passthrough.Opens > before
	})
}

// asked returns how many bytes were asked of the file system.
func (m *diskMount) asked() int64 { return m.fs.Stats().Cache.ReadBytes }

// wantPassed checks that f is read without the file system.
func (m *diskMount) wantPassed(t *testing.T, f *os.File, want string) {
	t.Helper()
	before := m.asked()
	wantContent(t, f, want)
	if n := m.asked() - before; n > 0 {
		t.Errorf("%d bytes were asked of the file system", n)
	}
}

// wantContent checks what an open file contains.
func wantContent(t *testing.T, f *os.File, want string) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil || string(got) != want {
		t.Errorf("%d bytes %.10q, %v; want %d %.10q", len(got), got, err, len(want), want)
	}
}

func TestPassthrough(t *testing.T) {
	m := mountPassed(t)
	want := text('a', passedSize)
	one, two := openFile(t, m.path("f"), os.O_RDONLY), openFile(t, m.path("f"), os.O_RDONLY)
	m.wantPassed(t, one, want)
	m.wantPassed(t, two, want)
	before := m.asked()
	p, err := unix.Mmap(int(one.Fd()), 0, passedSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if string(p) != want {
		t.Error("mapped: other bytes")
	}
	if err := unix.Munmap(p); err != nil {
		t.Fatal(err)
	}
	if n := m.asked() - before; n > 0 {
		t.Errorf("mapped: %d bytes were asked of the file system", n)
	}
	if n := m.backer.known.Load(); n != 1 {
		t.Errorf("the kernel knows %d files, want one", n)
	}
	// What the cache evicts stays until it is closed.
	paths, _ := filepath.Glob(filepath.Join(m.cacheDir, "*.*"))
	for _, p := range paths {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	m.wantPassed(t, one, want)
	m.wantPassed(t, openFile(t, m.path("f"), os.O_RDONLY), want)
}

// TestPassthroughNotAlways: small files, writers, and those who come while the
// kernel has the file in its own cache, are served by the file system.
func TestPassthroughNotAlways(t *testing.T) {
	m := mountPassed(t)
	write(t, m.served("small"), "text")
	age(t, m.served("small"), time.Hour)
	for range 2 {
		wantFile(t, m.path("small"), "text")
		m.settle(t)
	}
	writer := openFile(t, m.path("f"), os.O_RDWR)
	before := m.fs.Stats().Passthrough.Opens
	wantFile(t, m.path("f"), text('a', passedSize))
	if n := m.fs.Stats().Passthrough.Opens - before; n > 0 {
		t.Errorf("%d opens were passed through", n)
	}
	wrote(t)(writer.WriteAt([]byte("b"), 0))
	wantFile(t, m.path("f"), "b"+text('a', passedSize-1))
}

// TestPassthroughWriter: who writes to a file that is passed through gets a file
// of that name; who has it open keeps what he opened.
func TestPassthroughWriter(t *testing.T) {
	old := text('a', passedSize)
	for name, tc := range map[string]struct {
		write func(t *testing.T, path string)
		want  string
	}{
		"read and write": {func(t *testing.T, path string) {
			f := openFile(t, path, os.O_RDWR)
			wrote(t)(f.WriteAt([]byte("b"), 0))
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		}, "b" + old[1:]},
		"mapped": {func(t *testing.T, path string) {
			if err := inChild(t, mapPrefix+path); err != nil {
				t.Error(err)
			}
		}, "b" + old[1:]},
		"append": {func(t *testing.T, path string) {
			f := openFile(t, path, os.O_WRONLY|os.O_APPEND)
			wrote(t)(f.WriteString("b"))
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}, old + "b"},
		"made anew":               {func(t *testing.T, path string) { write(t, path, "new") }, "new"},
		"emptied by a reader":     {func(t *testing.T, path string) { openFile(t, path, os.O_RDONLY|os.O_TRUNC) }, ""},
		"truncated":               {func(t *testing.T, path string) { _ = os.Truncate(path, 4097) }, old[:4097]},
		"replaced":                {func(t *testing.T, path string) { write(t, path+"2", "new"); _ = os.Rename(path+"2", path) }, "new"},
		"removed and made again":  {func(t *testing.T, path string) { _ = os.Remove(path); write(t, path, "new") }, "new"},
		"another time, and bytes": {func(t *testing.T, path string) { _ = os.Chtimes(path, time.Now(), time.Unix(1e9, 0)) }, old},
	} {
		t.Run(name, func(t *testing.T) {
			m := mountPassed(t)
			reader := openFile(t, m.path("f"), os.O_RDONLY)
			tc.write(t, m.path("f"))
			m.wantPassed(t, reader, old)
			if info, err := reader.Stat(); err != nil || info.Size() != int64(len(old)) {
				t.Errorf("the reader sees %v, %v", info, err)
			}
			wantFile(t, m.path("f"), tc.want)
			eventually(t, "it is on the server", func() bool {
				b, err := os.ReadFile(m.served("f"))
				return err == nil && string(b) == tc.want
			})
			m.wantPassed(t, reader, old)
		})
	}
}

// TestPassthroughChanged: who opens a file after it changed on the server has
// what is there, and who had it open what there was.
func TestPassthroughChanged(t *testing.T) {
	m := mountPassed(t)
	reader := openFile(t, m.path("f"), os.O_RDONLY)
	write(t, m.served("f"), text('b', passedSize))
	age(t, m.served("f"), time.Minute)
	wantFile(t, m.path("f"), text('b', passedSize))
	m.wantPassed(t, reader, text('a', passedSize))
	m.settle(t)
	m.pass(t, "f")
	m.wantPassed(t, openFile(t, m.path("f"), os.O_RDONLY), text('b', passedSize))
	m.wantPassed(t, reader, text('a', passedSize))
	if st := m.fs.Stats().Passthrough; st.Replaced != 1 || st.Files != 2 {
		t.Errorf("%+v, want one given up and two known", st)
	}
}

// TestPassthroughRefused: what the kernel does not take comes from the cache.
func TestPassthroughRefused(t *testing.T) {
	m := mountPassed(t)
	eventually(t, "nobody has it open", func() bool { return m.backer.known.Load() == 0 })
	m.fs.PassThrough(refusing{})
	f := openFile(t, m.path("f"), os.O_RDONLY)
	before := m.asked()
	wantContent(t, f, text('a', passedSize))
	if m.asked() == before {
		t.Error("it was passed through")
	}
	if st := m.fs.Stats().Passthrough; st.Refused == 0 {
		t.Errorf("%+v, want it to show", st)
	}
}

type refusing struct{}

func (refusing) Back(context.Context, *os.File) (int32, error) { return 0, syscall.EPERM }
func (refusing) Unback(int32)                                  {}
