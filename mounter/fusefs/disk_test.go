package fusefs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// diskMount is a mount of a server that others mount, too, with a disk cache.
type diskMount struct {
	*mounted
	disk     *diskcache.Cache
	cacheDir string
	fetches  atomic.Int64
}

// openDisk opens a disk cache until after the mounts of the test.
func openDisk(t *testing.T, dir string) *diskcache.Cache {
	t.Helper()
	disk, err := diskcache.Open(diskcache.Config{Dir: dir, Budget: 64 << 20, Source: "https://a/x", Identity: "me"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

func mountDisk(t *testing.T, root, dir string) *diskMount {
	t.Helper()
	disk := openDisk(t, dir)
	m := &diskMount{disk: disk, cacheDir: dir}
	remote := &dirRemote{root: root}
	m.mounted = mountRemote(t, remote, root, func(c *fusefs.Config) { c.Disk = disk })
	m.remote = remote
	remote.setFault(func(_ context.Context, op, _ string) error {
		if op == "fetch" || op == "read" {
			m.fetches.Add(1)
		}
		return nil
	})
	return m
}

// settle waits until all that was read is on the disk.
func (m *diskMount) settle(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for tick := time.Tick(time.Millisecond); m.disk.Stats().Queued > 0; {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("never settles")
		}
	}
}

// TestDiskCache: what one mount has read the next one, also in another process,
// need not ask the server for, until it changes.
func TestDiskCache(t *testing.T) {
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	text := strings.Repeat("a line of the file\n", 100_000)
	write(t, filepath.Join(root, "f"), text)
	age(t, filepath.Join(root, "f"), time.Hour)
	one := mountDisk(t, root, dir)
	wantFile(t, one.path("f"), text)
	if one.fetches.Load() == 0 {
		t.Fatal("it was not fetched, so this test sees nothing")
	}
	one.settle(t)
	two := mountDisk(t, root, dir)
	wantFile(t, two.path("f"), text)
	if n := two.fetches.Load(); n > 0 {
		t.Errorf("%d fetches of what is on the disk", n)
	}
	if st := two.fs.Stats().Cache; st.TierBytes < int64(len(text)) || st.FetchedBytes != 0 {
		t.Errorf("%+v", st)
	}
	write(t, filepath.Join(root, "f"), strings.ToUpper(text))
	three := mountDisk(t, root, dir)
	wantFile(t, three.path("f"), strings.ToUpper(text))
	wantFile(t, two.path("f"), strings.ToUpper(text))
}

// TestDiskCacheOwnChanges: size and time of a file may be what they were before
// it was written, or renamed over, through a mount. No mount shows the old bytes.
func TestDiskCacheOwnChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, m *diskMount, then time.Time){
		"written, and the time set back": func(t *testing.T, m *diskMount, then time.Time) {
			write(t, m.path("d/f"), "new")
			if err := os.Chtimes(m.path("d/f"), then, then); err != nil {
				t.Fatal(err)
			}
		},
		"another renamed over it": func(t *testing.T, m *diskMount, _ time.Time) {
			if err := os.Rename(m.path("d/g"), m.path("d/f")); err != nil {
				t.Fatal(err)
			}
		},
		"the directory replaced": func(t *testing.T, m *diskMount, _ time.Time) {
			if err := os.Rename(m.path("d"), m.path("old")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(m.path("e"), m.path("d")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := t.TempDir(), filepath.Join(t.TempDir(), "cache")
			mkdir(t, filepath.Join(root, "d"))
			mkdir(t, filepath.Join(root, "e"))
			then := time.Now().Add(-time.Hour).Truncate(time.Second)
			for path, text := range map[string]string{"d/f": "old", "d/g": "new", "e/f": "new"} {
				write(t, filepath.Join(root, path), text)
				if err := os.Chtimes(filepath.Join(root, path), then, then); err != nil {
					t.Fatal(err)
				}
			}
			one := mountDisk(t, root, dir)
			wantFile(t, one.path("d/f"), "old")
			one.settle(t)
			change(t, one, then)
			wantFile(t, one.path("d/f"), "new")
			one.settle(t)
			if name == "the directory replaced" {
				return // later mounts cannot know
			}
			wantFile(t, mountDisk(t, root, dir).path("d/f"), "new")
		})
	}
}

// TestDiskCacheInTrouble: a disk that does not work is not noticed.
func TestDiskCacheInTrouble(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "f"), "text")
	age(t, filepath.Join(root, "f"), time.Hour)
	m := mountDisk(t, root, "/proc/no/directory")
	wantFile(t, m.path("f"), "text")
	m.settle(t)
	if st := m.disk.Stats(); st.Errors == 0 {
		t.Errorf("%+v: nothing went wrong, so this test sees nothing", st)
	}
}
