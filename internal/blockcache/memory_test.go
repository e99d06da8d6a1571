package blockcache_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// fill touches every page, as a fetch does, and the last byte.
func fill(_ context.Context, r blockcache.Request) error {
	for i := 0; i < len(r.Buf); i += 4 * kib {
		r.Buf[i] = pageByte(r.Off + int64(i))
	}
	return nil
}

// pageByte is what the first byte of the page at off is.
func pageByte(off int64) byte { return byte(off >> 12) }

// TestMemoryOfManyReaders reads 64 files at once, with random seeks and a
// budget for less than all of them ask for, and measures the memory.
func TestMemoryOfManyReaders(t *testing.T) {
	const budget, readers = 24 * mib, 64
	c := newCache(t, blockcache.Config{Fetch: fill, Budget: budget})
	stop := make(chan struct{})
	var watch, wg sync.WaitGroup
	var most int64
	watch.Go(func() {
		for tick := time.Tick(5 * time.Millisecond); ; {
			select {
			case <-tick:
				most = max(most, c.Resident())
			case <-stop:
				return
			}
		}
	})
	for g := range uint64(readers) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(g, 1))
			r, key := c.NewReader(), blockcache.Key{File: g, Version: blockcache.Version{Size: 1 << 30}}
			var v blockcache.View
			for range 15 {
				off, n := rnd.Int64N(1<<17)*4*kib, (rnd.Int64N(256)+1)*4*kib
				for range 1 + rnd.IntN(4) { // a seek, and on for a bit
					got, err := r.View(t.Context(), key, off, n, &v)
					if err != nil || got == 0 || v.Pieces[0][0] != pageByte(off) {
						t.Errorf("%d bytes, %v", got, err)
					}
					v.Release()
					off += n
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	st := c.Stats()
	t.Logf("%d KiB at most, %+v", most>>10, st)
	if most > budget || most < budget/2 {
		t.Errorf("%d bytes of memory with a budget of %d", most, budget)
	}
	if st.Used > budget {
		t.Errorf("%d bytes counted with a budget of %d", st.Used, budget)
	}
}

// TestMemoryIsGivenBack: a mount that nobody reads from holds nothing.
func TestMemoryIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, blockcache.Config{Fetch: fill, Budget: 32 * mib, Idle: time.Minute})
		defer c.Close()
		p := make([]byte, mib)
		for off := int64(0); off < 24*mib; off += mib {
			if _, err := c.ReadAt(t.Context(), bigFile(1<<30), p, off); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Second)
		if used := c.Resident(); used < 24*mib {
			t.Errorf("%d bytes after 50 s", used)
		}
		time.Sleep(2 * time.Minute)
		if used := c.Resident(); used != 0 || c.Stats().Used != 0 {
			t.Errorf("%d bytes left, counted %d", used, c.Stats().Used)
		}
		if _, err := c.ReadAt(t.Context(), bigFile(1<<30), p, mib); err != nil || p[4*kib] != pageByte(mib+4*kib) {
			t.Errorf("reading on: %v", err)
		}
	})
}

// TestCloseWithView: the bytes of a view outlive the cache.
func TestCloseWithView(t *testing.T) {
	c := newCache(t, blockcache.Config{Fetch: fill})
	var v blockcache.View
	if n, err := c.NewReader().View(t.Context(), bigFile(1<<30), 7*4*kib, 10, &v); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if v.Pieces[0][0] != 7 {
		t.Errorf("%q", v.Pieces)
	}
	v.Release()
	if left := c.Mapped(); left > 0 {
		t.Errorf("%d bytes left", left)
	}
}

// TestSizesTakeTurns: memory that was used for small runs serves large ones and
// the other way round.
func TestSizesTakeTurns(t *testing.T) {
	const budget = 8 * mib
	c := newCache(t, blockcache.Config{Fetch: fill, Budget: budget})
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		n := int64(4*kib) << rnd.IntN(9)
		for range 12 * mib / n {
			off := rnd.Int64N(1<<30/n) * n
			p := make([]byte, n)
			if _, err := c.ReadAt(t.Context(), bigFile(1<<30), p, off); err != nil || p[n-4*kib] != pageByte(off+n-4*kib) {
				t.Fatalf("round %d, %d bytes: %v", i, n, err)
			}
		}
		if used := c.Resident(); used > budget || c.Stats().Used > budget {
			t.Fatalf("round %d, %d bytes: %d used, %d counted", i, n, used, c.Stats().Used)
		}
	}
}
