package fusefs_test

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
	"github.com/csi-uftp/csi-uftp/uftp"
)

var (
	fsxOps  = flag.Int("fsx.ops", 4000, "operations of TestFsx in all, over its settings")
	fsxSeed = flag.Uint64("fsx.seed", 1, "first seed of TestFsx")
)

// TestFsxServers is the random test on each kind of server.
func TestFsxServers(t *testing.T) {
	eachServer(t, func(t *testing.T, mount mountFunc) {
		t.Run("memory", func(t *testing.T) {
			m := mount(t, func(c *fusefs.Config) { c.Spec.CacheSize = 1 << 20 })
			testFsx(t, m, fsxtest.Config{Seed: *fsxSeed, Ops: *fsxOps / 4})
		})
		t.Run("disk and passthrough", func(t *testing.T) {
			m := mount(t, func(c *fusefs.Config) { c.Disk, c.Spec.CacheSize = openDisk(t, t.TempDir()), 1<<20 })
			m.fs.PassThrough(m.backer)
			testFsx(t, m, fsxtest.Config{Seed: *fsxSeed, Ops: *fsxOps / 4, MaxSize: 3 << 20, Served: m.root})
		})
	})
}

// TestFsx is the random test with settings, and faults of the server, that a
// program must not notice.
func TestFsx(t *testing.T) {
	settings := []struct {
		name   string
		change func(*fusefs.Config)
		faults bool
		rest   bool
	}{
		{name: "default"},
		{name: "kernel caches nothing", change: func(c *fusefs.Config) {
			c.Spec.AttrTimeout, c.Spec.EntryTimeout = 0, 0
		}},
		{name: "small limits", change: func(c *fusefs.Config) {
			c.Spec.CacheSize, c.Spec.BlockSize, c.Spec.DirtyLimit = 256<<10, 64<<10, 128<<10
		}},
		{name: "uploads at once", change: func(c *fusefs.Config) {
			c.WriteBackDelay = time.Millisecond
		}},
		{name: "disk cache", rest: true, change: func(c *fusefs.Config) {
			disk := openDisk(t, t.TempDir())
			c.Disk, c.Spec.CacheSize, c.Spec.BlockSize = disk, 256<<10, 64<<10
			c.WriteBackDelay = time.Millisecond
		}},
		{name: "uploads fail now and then", faults: true, change: func(c *fusefs.Config) {
			c.WriteBackDelay, c.RetryDelay = time.Millisecond, time.Millisecond
			c.Logger = nil
		}},
	}
	for i, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			m := mountDir(t, s.change)
			seed := *fsxSeed + uint64(i)
			if s.faults {
				m.remote.setFault(uploadFaults(seed))
			}
			cfg := fsxtest.Config{Seed: seed, Ops: *fsxOps / len(settings), FailingSync: s.faults}
			if s.rest {
				cfg.Served = m.root
			}
			testFsx(t, m, cfg)
		})
	}
}

// testFsx does one run, and looks at the server afterwards.
func testFsx(t *testing.T, m *mounted, cfg fsxtest.Config) {
	t.Helper()
	final := filepath.Join(t.TempDir(), "final")
	cfg.Dir, cfg.Direct, cfg.Final = m.dir, true, final
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 512 << 10
	}
	if err := runFsx(t, cfg); err != nil {
		t.Fatal(err)
	}
	if m.remote != nil {
		m.remote.setFault(nil)
	}
	if err := m.fs.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(final)
	if err != nil {
		t.Fatal(err)
	}
	name, want, _ := strings.Cut(string(b), "\n")
	got, err := os.ReadFile(m.served(name))
	if err != nil || !bytes.Equal(got, []byte(want)) {
		t.Errorf("what the server has is not what was written (%v)", err)
	}
	t.Logf("%+v", m.fs.Stats())
}

// uploadFaults lets some writes fail: before the server has the data, or after,
// so that only the confirmation is lost.
func uploadFaults(seed uint64) func(context.Context, string, string) error {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 1))
	return func(_ context.Context, op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if (op == "write" || op == "written") && rnd.IntN(8) == 0 {
			return uftp.ErrUnavailable
		}
		return nil
	}
}
