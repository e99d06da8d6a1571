package blockcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const unit = 64 << 10

// content returns the bytes of a version of a file.
func content(key blockcache.Key) []byte {
	rnd := rand.New(rand.NewPCG(key.File, key.Version.Seq))
	p := make([]byte, key.Version.Size)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

func newCache(t *testing.T, cfg blockcache.Config) *blockcache.Cache {
	t.Helper()
	c, err := blockcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var errFault = errors.New("fault")

// TestAgainstByteSlice reads at random, in parallel, with faults, cancelled
// readers, evictions and new versions, and compares every byte.
func TestAgainstByteSlice(t *testing.T) {
	for _, tc := range []struct {
		name          string
		budget, block int64
	}{
		{"one block", 128 << 10, 128 << 10},
		{"tight", 5 * unit, 2 * unit},
		{"small blocks", 64 << 10, 4 << 10},
		{"roomy", 16 << 20, 1 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) { testRandomReads(t, tc.budget, tc.block) })
	}
}

func testRandomReads(t *testing.T, budget, block int64) {
	const files, versions = 3, 3
	var data [files][versions][]byte
	key := func(f, v int) blockcache.Key {
		return blockcache.Key{File: uint64(f), Version: blockcache.Version{
			Size: int64(1000_003 + 70_000*f - 1000*v), ModTime: 1, Seq: uint64(v)}}
	}
	for f := range files {
		for v := range versions {
			data[f][v] = content(key(f, v))
		}
	}
	var calls atomic.Int64
	c := newCache(t, blockcache.Config{
		Budget: budget, BlockSize: block, Timeout: time.Minute,
		Fetch: func(ctx context.Context, key blockcache.Key, p []byte, off int64) error {
			if int64(len(p)) > block {
				t.Errorf("fetch of %d bytes with blocks of %d", len(p), block)
			}
			copy(p, data[key.File][key.Version.Seq][off:])
			if calls.Add(1)%7 == 0 {
				clear(p)
				return errFault
			}
			return ctx.Err()
		},
	})
	var current [files]atomic.Int64
	var good, failed, stale atomic.Int64
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 7))
			readers := map[int]*blockcache.Reader{}
			next := map[int]int64{}
			for step := range 300 {
				f := rnd.IntN(files)
				if readers[f] == nil {
					readers[f] = c.NewReader()
				}
				v := int(current[f].Load())
				if g == 0 && step%90 == 89 && v < versions-1 {
					v++
					current[f].Store(int64(v))
				}
				if rnd.IntN(50) == 0 {
					c.Invalidate(uint64(f))
				}
				k := key(f, v)
				off := rnd.Int64N(k.Version.Size)
				if rnd.IntN(3) > 0 {
					off = min(next[f], k.Version.Size-1)
				}
				p := make([]byte, rnd.Int64N(200_000)+1)
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(10) == 0 {
					cancel()
				}
				n, err := readers[f].ReadAt(ctx, k, p, off)
				cancel()
				next[f] = off + int64(n)
				if !bytes.Equal(p[:n], data[f][v][off:off+int64(n)]) {
					t.Errorf("wrong bytes: file %d version %d at %d+%d", f, v, off, n)
				}
				switch {
				case err == nil && n == len(p), errors.Is(err, io.EOF) && off+int64(n) == k.Version.Size:
					good.Add(1)
				case errors.Is(err, blockcache.ErrStale):
					stale.Add(1)
				case errors.Is(err, errFault), errors.Is(err, context.Canceled):
					failed.Add(1)
				default:
					t.Errorf("%d bytes, err %v", n, err)
				}
				if st := c.Stats(); st.Used > st.Budget {
					t.Errorf("over budget: %+v", st)
				}
			}
		})
	}
	wg.Wait()
	c.Close()
	st := c.Stats()
	t.Logf("%d good, %d failed, %d stale, %+v", good.Load(), failed.Load(), stale.Load(), st)
	if good.Load() == 0 || failed.Load() == 0 {
		t.Error("not everything was met")
	}
	if st.Flights != 0 || st.Used > st.Budget {
		t.Errorf("left behind: %+v", st)
	}
	for f := range files {
		c.Invalidate(uint64(f))
	}
	if st := c.Stats(); st.Used != 0 {
		t.Errorf("%d bytes used by nothing", st.Used)
	}
}

// TestSharedFlight lets many readers want the same bytes: one fetch, whose
// error all see; one that gives up does not disturb the others.
func TestSharedFlight(t *testing.T) {
	for _, fail := range []error{nil, errFault} {
		synctest.Test(t, func(t *testing.T) {
			key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 100}}
			gate := make(chan struct{})
			var fetches atomic.Int64
			c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20,
				Fetch: func(ctx context.Context, key blockcache.Key, p []byte, off int64) error {
					fetches.Add(1)
					<-gate
					copy(p, content(key)[off:])
					return fail
				}})
			impatient, cancel := context.WithCancel(t.Context())
			errs := make(chan error, 10)
			for range 9 {
				go func() {
					_, err := c.ReadAt(t.Context(), key, make([]byte, 10), 50)
					errs <- err
				}()
			}
			gone := make(chan error)
			go func() {
				_, err := c.ReadAt(impatient, key, make([]byte, 10), 50)
				gone <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled reader: %v", err)
			}
			close(gate)
			for range 9 {
				if err := <-errs; !errors.Is(err, fail) {
					t.Errorf("reader: %v, want %v", err, fail)
				}
			}
			if n := fetches.Load(); n != 1 {
				t.Errorf("%d fetches, want 1", n)
			}
		})
	}
}

// TestTimeout ends a flight that takes too long.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20, Timeout: time.Minute,
			Fetch: func(ctx context.Context, _ blockcache.Key, _ []byte, _ int64) error {
				<-ctx.Done()
				return ctx.Err()
			}})
		start := time.Now()
		_, err := c.ReadAt(t.Context(), blockcache.Key{Version: blockcache.Version{Size: 1}}, make([]byte, 1), 0)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestFetchSizes: a random reader fetches little, a sequential one blocks.
func TestFetchSizes(t *testing.T) {
	const block = 1 << 20
	key := blockcache.Key{Version: blockcache.Version{Size: 64 << 20}}
	newCounting := func(t *testing.T) *blockcache.Cache {
		return newCache(t, blockcache.Config{Budget: 32 << 20, BlockSize: block,
			Fetch: func(context.Context, blockcache.Key, []byte, int64) error { return nil }})
	}
	t.Run("random", func(t *testing.T) {
		c := newCounting(t)
		r := c.NewReader()
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 100 {
			if _, err := r.ReadAt(t.Context(), key, make([]byte, 4096), rnd.Int64N(key.Version.Size/4096)*4096); err != nil {
				t.Fatal(err)
			}
		}
		if st := c.Stats(); st.FetchedBytes > 100*unit {
			t.Errorf("fetched %d bytes for 100 reads of 4 KiB", st.FetchedBytes)
		}
	})
	t.Run("sequential", func(t *testing.T) {
		c := newCounting(t)
		r := c.NewReader()
		for off := int64(0); off < key.Version.Size; off += 128 << 10 {
			if _, err := r.ReadAt(t.Context(), key, make([]byte, 128<<10), off); err != nil {
				t.Fatal(err)
			}
		}
		st := c.Stats()
		if st.FetchedBytes != key.Version.Size {
			t.Errorf("fetched %d bytes of %d", st.FetchedBytes, key.Version.Size)
		}
		if most := key.Version.Size/block + 8; st.Fetches > most {
			t.Errorf("%d fetches, want at most %d", st.Fetches, most)
		}
	})
}

func TestVersionsDoNotMix(t *testing.T) {
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20,
		Fetch: func(_ context.Context, key blockcache.Key, p []byte, off int64) error {
			copy(p, content(key)[off:])
			return nil
		}})
	read := func(seq uint64) (string, error) {
		p := make([]byte, 8)
		_, err := c.ReadAt(t.Context(), blockcache.Key{File: 1, Version: blockcache.Version{Size: 8, Seq: seq}}, p, 0)
		return string(p), err
	}
	one, err := read(1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := read(2)
	if err != nil || one == two {
		t.Errorf("the old bytes for the new version (%v)", err)
	}
	if _, err := read(1); !errors.Is(err, blockcache.ErrStale) {
		t.Errorf("reading the old version: %v, want ErrStale", err)
	}
}

func TestReadAtBounds(t *testing.T) {
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 4096,
		Fetch: func(_ context.Context, key blockcache.Key, p []byte, off int64) error {
			copy(p, content(key)[off:])
			return nil
		}})
	key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 10_000}}
	want := content(key)
	for _, tc := range []struct {
		off int64
		len int
		n   int
		err error
	}{
		{0, 10_000, 10_000, nil},
		{0, 10_001, 10_000, io.EOF},
		{4095, 2, 2, nil},
		{9_999, 10, 1, io.EOF},
		{10_000, 1, 0, io.EOF},
		{20_000, 1, 0, io.EOF},
		{10_000, 0, 0, nil},
	} {
		p := make([]byte, tc.len)
		n, err := c.ReadAt(t.Context(), key, p, tc.off)
		if n != tc.n || !errors.Is(err, tc.err) {
			t.Errorf("at %d+%d: %d, %v; want %d, %v", tc.off, tc.len, n, err, tc.n, tc.err)
		} else if n > 0 && !bytes.Equal(p[:n], want[tc.off:tc.off+int64(n)]) {
			t.Errorf("at %d+%d: wrong bytes", tc.off, tc.len)
		}
	}
}

func TestConfig(t *testing.T) {
	fetch := func(context.Context, blockcache.Key, []byte, int64) error { return nil }
	for name, cfg := range map[string]blockcache.Config{
		"no fetch":     {Budget: 1 << 20, BlockSize: 4096},
		"no block":     {Budget: 1 << 20, Fetch: fetch},
		"odd block":    {Budget: 1 << 20, BlockSize: 5000, Fetch: fetch},
		"small budget": {Budget: 4095, BlockSize: 4096, Fetch: fetch},
	} {
		if _, err := blockcache.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
