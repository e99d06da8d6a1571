package diskcache_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

// TestFullDisk: a disk without room stops the cache from storing, not anybody
// from reading.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := open(t, config(dir))
	good := 0
	for i := range 20 {
		x := file("/"+strconv.Itoa(i), 512*kib)
		store(t, c, x, 0, 512*kib)
		if has(t, c, x, 0, 512*kib) {
			good++
		}
	}
	st := c.Stats()
	if st.Errors != 1 || !st.Resting || st.Dropped == 0 || st.Damaged > 0 {
		t.Errorf("%+v", st)
	}
	again := open(t, config(dir)) // does not rest, and gets what was stored
	kept := 0
	for i := range 20 {
		if has(t, again, file("/"+strconv.Itoa(i), 512*kib), 0, 512*kib) {
			kept++
		}
	}
	if good == 0 || kept < good {
		t.Errorf("%d were there, %d are", good, kept)
	}
}

// TestNoDirectory: a directory that cannot be used is as good as an empty one.
func TestNoDirectory(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x := file("/f", 8*kib)
	for _, path := range []string{inTheWay, filepath.Join(inTheWay, "below"), "/proc/nothing"} {
		c := open(t, config(path))
		store(t, c, x, 0, 8*kib)
		if has(t, c, x, 0, 4*kib) {
			t.Errorf("%s: stored", path)
		}
		if st := c.Stats(); st.Errors == 0 || !st.Resting {
			t.Errorf("%s: %+v", path, st)
		}
		if _, ok := c.Complete(x); ok {
			t.Errorf("%s: complete", path)
		}
	}
	vanishing := filepath.Join(dir, "vanishing")
	c := open(t, config(vanishing))
	store(t, c, x, 0, 8*kib)
	if err := os.RemoveAll(vanishing); err != nil {
		t.Fatal(err)
	}
	store(t, c, file("/g", 8*kib), 0, 8*kib)
	has(t, c, x, 0, 8*kib) // from the open file, or not
}

// TestSlowDisk holds the ledger, as a process that stops in the middle does: who
// puts does not wait, and the queue stays within its bound.
func TestSlowDisk(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Queue = mib
	c := open(t, cfg)
	x := file("/f", 16*mib)
	store(t, c, x, 0, 64*kib)
	f, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	taken, p := 0, data(x, 0, 64*kib)
	done := make(chan struct{}, 1000)
	start := time.Now()
	for i := range int64(200) {
		if c.Put(x, (i+1)*64*kib, p, func() { done <- struct{}{} }) {
			taken++
		}
		if q := c.Stats().Queued; q > mib {
			t.Errorf("%d bytes queued", q)
		}
	}
	if took := time.Since(start); took > 400*time.Millisecond {
		t.Errorf("putting took %v", took)
	}
	if !has(t, c, x, 0, 64*kib) {
		t.Error("reading does not work meanwhile")
	}
	if taken < 16 || taken > 40 {
		t.Errorf("%d of 200 taken", taken)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if len(done) != taken {
		t.Errorf("%d taken, %d done", taken, len(done))
	}
}

// TestRemovedIsLetGo: a content that another process removed takes no room on
// the disk for long because we have it open.
func TestRemovedIsLetGo(t *testing.T) {
	dir := t.TempDir()
	deleted := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		for _, fd := range fds {
			name, _ := os.Readlink("/proc/self/fd/" + fd.Name())
			if strings.HasPrefix(name, dir) && strings.HasSuffix(name, " (deleted)") {
				n++
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		c := open(t, config(dir))
		defer c.Close()
		x := file("/f", 64*kib)
		x.ModTime = time.Now().Add(-time.Hour)
		store(t, c, x, 0, 64*kib)
		for _, p := range globs(dir) {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
		if deleted() != 2 {
			t.Errorf("%d files open", deleted())
		}
		time.Sleep(6 * time.Second)
		if deleted() != 0 {
			t.Errorf("%d removed files are still open", deleted())
		}
	})
}

func TestOpenErrors(t *testing.T) {
	for name, change := range map[string]func(*diskcache.Config){
		"relative":    func(c *diskcache.Config) { c.Dir = "cache" },
		"no identity": func(c *diskcache.Config) { c.Identity = "" },
		"no source":   func(c *diskcache.Config) { c.Source = "" },
		"no budget":   func(c *diskcache.Config) { c.Budget = 0 },
	} {
		cfg := config(t.TempDir())
		change(&cfg)
		if _, err := diskcache.Open(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// BenchmarkGet reads 1 MiB that is stored, and checks it.
func BenchmarkGet(b *testing.B) {
	for _, n := range []int64{4 * kib, mib} {
		b.Run(strconv.FormatInt(n, 10), func(b *testing.B) {
			c, err := diskcache.Open(config(b.TempDir()))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			x, done, p := file("/f", n), make(chan struct{}), make([]byte, n)
			if !c.Put(x, 0, data(x, 0, n), func() { close(done) }) {
				b.Fatal("not taken")
			}
			<-done
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				if !c.Get(x, 0, p) {
					b.Fatal("not there")
				}
			}
		})
	}
}

// BenchmarkPut stores 1 MiB after another.
func BenchmarkPut(b *testing.B) {
	cfg := config(b.TempDir())
	c, err := diskcache.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p, done, i := data(file("/f", mib), 0, mib), make(chan struct{}, 1), 0
	b.SetBytes(mib)
	b.ReportAllocs()
	for b.Loop() {
		i++
		if !c.Put(file("/"+strconv.Itoa(i), mib), 0, p, func() { done <- struct{}{} }) {
			b.Fatal("not taken")
		}
		<-done
	}
	if st := c.Stats(); st.Errors > 0 {
		b.Fatalf("%+v", st)
	}
}
