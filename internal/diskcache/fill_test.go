package diskcache_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

// source brings bytes of a content, and counts them.
type source struct {
	x     diskcache.Content
	bytes atomic.Int64
	err   error
}

func (s *source) fetch(_ context.Context, off int64, p []byte) error {
	s.bytes.Add(int64(len(p)))
	copy(p, data(s.x, off, int64(len(p))))
	return s.err
}

// TestFill: what is missing of a file that is mostly there is fetched, and
// nothing else, and it is complete at once then, for other processes too.
func TestFill(t *testing.T) {
	for name, tc := range map[string]struct {
		holes [][2]int64 // in pages
		want  int64      // bytes that are fetched
	}{
		"nothing missing":     {nil, 0},
		"some pages":          {[][2]int64{{0, 3}, {250, 260}, {511, 1}, {1280, 1}}, 264*4*kib + 7},
		"a chunk":             {[][2]int64{{256, 256}}, mib},
		"less than half":      {[][2]int64{{0, 700}}, 0},
		"the end of the file": {[][2]int64{{1100, 181}}, 180*4*kib + 7},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := open(t, config(dir))
			x := file("/whole", 5*mib+7) // 1280 pages and a bit
			missing := make(map[int64]bool)
			for _, h := range tc.holes {
				for p := h[0]; p < h[0]+h[1]; p++ {
					missing[p] = true
				}
			}
			for p := int64(0); p*4*kib < x.Size; p++ {
				if !missing[p] && !store(t, c, x, p*4*kib, min(4*kib, x.Size-p*4*kib)) {
					t.Fatal("not stored")
				}
			}
			from := &source{x: x}
			if err := c.Fill(t.Context(), x, from.fetch); err != nil {
				t.Fatal(err)
			}
			if got := from.bytes.Load(); got != tc.want {
				t.Errorf("%d bytes fetched, want %d", got, tc.want)
			}
			complete := len(missing) == 0 || tc.want > 0
			for which, c := range map[string]*diskcache.Cache{"this": c, "another": open(t, config(dir))} {
				f, ok := c.Complete(x)
				if ok != complete {
					t.Errorf("%s process: complete %t, want %t", which, ok, complete)
				}
				if ok {
					f.Close()
				}
				for off := int64(0); complete && off < x.Size; off += mib {
					if !has(t, c, x, off, min(mib, x.Size-off)) {
						t.Errorf("%s process: %d is not there", which, off)
					}
				}
			}
			if st := c.Stats(); st.Filled != from.bytes.Load() || (st.Complete > 0) != complete {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestFillLost: what the disk was too slow for counts as read.
func TestFillLost(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Queue = mib
	c := open(t, cfg)
	x := file("/whole", 8*mib)
	store(t, c, x, 0, 4*kib)
	for off := int64(0); off < x.Size; off += 2 * mib {
		if c.Put(x, off, make([]byte, 2*mib), func() {}) {
			t.Fatal("more than the queue holds was taken")
		}
	}
	from := &source{x: x}
	if err := c.Fill(t.Context(), x, from.fetch); err != nil {
		t.Fatal(err)
	}
	complete(t, c, x)
	if n := from.bytes.Load(); n != x.Size-4*kib {
		t.Errorf("%d bytes fetched", n)
	}
}

// TestFillFails: it ends with the server's error, and with the cache.
func TestFillFails(t *testing.T) {
	c := open(t, config(t.TempDir()))
	x := file("/whole", 5*mib)
	for off := int64(0); off < 4*mib; off += mib {
		store(t, c, x, off, mib)
	}
	if err := c.Fill(t.Context(), x, (&source{x: x, err: fs.ErrPermission}).fetch); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v, want the source's error", err)
	}
	hangs := func(ctx context.Context, _ int64, _ []byte) error {
		c.Close()
		<-ctx.Done()
		return ctx.Err()
	}
	if err := c.Fill(t.Context(), x, hangs); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want to be told that it ended", err)
	}
	if err := c.Fill(t.Context(), x, hangs); !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the end", err)
	}
}

// TestVerdict: that a file was verified holds until it changes, in whichever
// process. (That it ends with the run of the system cannot be shown here.)
func TestVerdict(t *testing.T) {
	dir := t.TempDir()
	x := file("/whole", 3*mib)
	c := open(t, config(dir))
	for off := int64(0); off < x.Size; off += mib {
		store(t, c, x, off, mib)
	}
	if err := c.Fill(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	f, ok := open(t, config(dir)).Complete(x)
	if !ok {
		t.Fatal("another process does not know")
	}
	defer f.Close()
	paths, _ := filepath.Glob(filepath.Join(dir, "*.data"))
	hour := time.Now().Add(-time.Hour)
	if err := os.Chtimes(paths[0], hour, hour); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*diskcache.Cache{c, open(t, config(dir))} {
		if f, ok := c.Complete(x); ok {
			f.Close()
			t.Error("complete, and nobody has looked since it was changed")
		}
		complete(t, c, x)
		if err := os.Chtimes(paths[0], hour, hour.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	// A verdict that is not whole is none.
	index, _ := filepath.Glob(filepath.Join(dir, "*.index"))
	complete(t, c, x)
	info, err := os.Stat(index[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(index[0], info.Size()-1); err != nil {
		t.Fatal(err)
	}
	if f, ok := open(t, config(dir)).Complete(x); ok {
		f.Close()
		t.Error("complete by half a verdict")
	}
}

// TestKeep: what is in use leaves last.
func TestKeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Budget = 8 * mib
	c := open(t, cfg)
	old := file("/old", mib)
	store(t, c, old, 0, mib)
	done := c.Keep(old)
	past := time.Now().Add(-time.Hour)
	index, _ := filepath.Glob(filepath.Join(dir, "*.index"))
	if err := os.Chtimes(index[0], past, past); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; {
		if info, err := os.Stat(index[0]); err != nil || info.ModTime().After(past) {
			break
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("nobody says that it is in use")
		}
	}
	done()
}

// TestHeldIsCounted: what somebody has open is not removed to make room, as that
// would make none; nothing more is put there if it takes all there is.
func TestHeldIsCounted(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Budget = 4 * mib
	c, other := open(t, cfg), open(t, cfg)
	var held []*os.File
	for i := range 2 { // as large as a content may be
		x := file("/held"+strconv.Itoa(i), 2*mib-64*kib)
		for off := int64(0); off < x.Size; off += mib {
			store(t, c, x, off, min(mib, x.Size-off))
		}
		held = append(held, complete(t, c, x))
	}
	for i := range 4 {
		store(t, other, file("/more"+strconv.Itoa(i), mib), 0, mib)
		if has(t, open(t, cfg), file("/more"+strconv.Itoa(i), mib), 0, mib) {
			t.Error("there is room for more than there is room for")
		}
	}
	for i, f := range held {
		if info, err := f.Stat(); err != nil || info.Sys().(*syscall.Stat_t).Nlink == 0 {
			t.Errorf("%d was removed", i)
		}
	}
	if n := onDisk(t, dir); n > cfg.Budget {
		t.Errorf("%d bytes on the disk, budget %d", n, cfg.Budget)
	}
	if st := other.Stats(); st.Errors > 0 || st.Resting || st.Dropped != 4*mib {
		t.Errorf("%+v", st)
	}
	for _, f := range held {
		_ = f.Close()
	}
	x := file("/more", mib)
	if store(t, other, x, 0, mib); !has(t, open(t, cfg), x, 0, mib) {
		t.Error("no room for it when nobody has anything open")
	}
}
