package blockcache_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func bigFile(size int64) blockcache.Key {
	return blockcache.Key{File: 1, Version: blockcache.Version{Size: size}}
}

// nothing brings what lies in the buffer already.
func nothing(context.Context, blockcache.Request) error { return nil }

// link is a way to a server: it takes a while, and so many bytes a second.
type link struct {
	delay time.Duration
	rate  float64 // bytes a second

	mu   sync.Mutex
	free time.Time // when the line is
	most int64     // bytes of a fetch
}

func (l *link) fetch(ctx context.Context, r blockcache.Request) error {
	l.mu.Lock()
	start := time.Now().Add(l.delay)
	if l.free.After(start) {
		start = l.free
	}
	l.free = start.Add(time.Duration(float64(len(r.Buf)) / l.rate * 1e9))
	l.most = max(l.most, int64(len(r.Buf)))
	wait := time.Until(l.free)
	l.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestSequentialFillsTheLink reads over 40 ms at 400 MB/s, and as on a LAN: each
// byte is fetched once, in large pieces, and the line is busy. What is read
// already of a file that the cache cannot hold makes room for the rest, although
// there is other memory.
func TestSequentialFillsTheLink(t *testing.T) {
	for _, tc := range []struct {
		name    string
		link    *link
		request int64
		least   float64 // of the rate
		most    int64   // bytes of memory
	}{
		{"far, 1 MiB", &link{delay: 40 * time.Millisecond, rate: 400e6}, mib, 0.95, 160 * mib},
		{"far, 128 KiB", &link{delay: 40 * time.Millisecond, rate: 400e6}, 128 * kib, 0.95, 160 * mib},
		{"very far", &link{delay: 100 * time.Millisecond, rate: 400e6}, mib, 0.9, 160 * mib},
		{"near", &link{delay: 100 * time.Microsecond, rate: 2e9}, mib, 0.98, 40 * mib},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := bigFile(4 << 30)
				c := newCache(t, blockcache.Config{
					Budget: 256 * mib, Fetch: tc.link.fetch,
					RoundTrip: func() time.Duration { return tc.link.delay },
				})
				defer c.Close()
				r := c.NewReader()
				start := time.Now()
				var v blockcache.View
				for off := int64(0); off < key.Version.Size; off += tc.request {
					if n, err := r.View(t.Context(), key, off, tc.request, &v); err != nil || n != tc.request {
						t.Fatalf("at %d: %d bytes, %v", off, n, err)
					}
					v.Release()
				}
				part := float64(key.Version.Size) / time.Since(start).Seconds() / tc.link.rate
				st := c.Stats()
				t.Logf("%.3f of the line, %d fetches", part, st.Fetches)
				if part < tc.least {
					t.Errorf("%.3f of the line, want %.2f", part, tc.least)
				}
				if st.FetchedBytes != key.Version.Size || tc.link.most != mib || st.Fetches > key.Version.Size/mib+64 {
					t.Errorf("%d bytes in %d fetches", st.FetchedBytes, st.Fetches)
				}
				if st.Used > tc.most {
					t.Errorf("%d bytes of memory, want %d", st.Used, tc.most)
				}
			})
		})
	}
}

// TestFirstByte: the first read of a file does not wait for more than 128 KiB.
func TestFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link{delay: 10 * time.Millisecond, rate: 10e6}
		c := newCache(t, blockcache.Config{Fetch: l.fetch})
		defer c.Close()
		start := time.Now()
		if _, err := c.NewReader().ReadAt(t.Context(), bigFile(1<<30), make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		if took, most := time.Since(start), 10*time.Millisecond+13200*time.Microsecond; took > most {
			t.Errorf("first byte after %v, want %v", took, most)
		}
	})
}

// TestPatternsFetchWhatIsRead counts the bytes that are fetched for those that
// are read, and how often the reader finds nothing.
func TestPatternsFetchWhatIsRead(t *testing.T) {
	const size = 1 << 30
	shuffled := func(n int64) []int64 { // the kernel's read-ahead: each four side by side
		var offs []int64
		rnd := rand.New(rand.NewPCG(3, 4))
		for off := int64(0); off < 64*mib; off += 4 * n {
			for _, i := range rnd.Perm(4) {
				offs = append(offs, off+int64(i)*n)
			}
		}
		return offs
	}
	steps := func(start, step int64, count int) []int64 {
		offs := make([]int64, count)
		for i := range offs {
			offs[i] = start + int64(i)*step
		}
		return offs
	}
	for _, tc := range []struct {
		name   string
		n      int64
		offs   []int64
		most   float64 // bytes fetched for each byte read
		misses int64
	}{
		{"forward", 128 * kib, steps(0, 128*kib, 512), 1.05, 4},
		{"out of order", 128 * kib, shuffled(128 * kib), 1.1, 8},
		{"out of order, 1 MiB", mib, shuffled(mib), 1.1, 8},
		{"strided", 64 * kib, steps(5*mib, mib, 512), 1.02, 8},
		{"strided from the start", 64 * kib, steps(0, mib, 512), 1.02, 8},
		{"strided backward", 64 * kib, steps(size-mib, -mib, 512), 1.02, 8},
		{"strided, not by pages", 64 * kib, steps(0, 1_000_000, 512), 1.2, 16},
		{"backward", 64 * kib, steps(size-64*kib, -64*kib, 512), 1.05, 8},
		{"backward, 4 KiB", 4 * kib, steps(size-4*kib, -4*kib, 4096), 1.05, 8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCache(t, blockcache.Config{Fetch: nothing})
			r := c.NewReader()
			for _, off := range tc.offs {
				n := tc.n
				if off == 0 {
					n *= 4 // the kernel asks for more at the start of a file
				}
				if _, err := r.ReadAt(t.Context(), bigFile(size), make([]byte, n), off); err != nil {
					t.Fatal(err)
				}
			}
			st := c.Stats()
			if part := float64(st.FetchedBytes-st.Ahead) / float64(st.ReadBytes); part > tc.most || st.Misses > tc.misses {
				t.Errorf("%.3f bytes fetched for each read, %d misses; want %.2f, %d", part, st.Misses, tc.most, tc.misses)
			}
		})
	}
}

// TestRandomFetchesLittle reads 4 KiB at random with 16 threads, with a reader
// for all and with one for each.
func TestRandomFetchesLittle(t *testing.T) {
	for _, shared := range []bool{true, false} {
		c := newCache(t, blockcache.Config{Fetch: nothing, Budget: 64 * mib})
		one := c.NewReader()
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				r := one
				if !shared {
					r = c.NewReader()
				}
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				p := make([]byte, 4*kib)
				for range 1000 {
					if _, err := r.ReadAt(t.Context(), bigFile(8<<30), p, rnd.Int64N(2<<20)*4*kib); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		st := c.Stats()
		if part := float64(st.FetchedBytes) / float64(st.ReadBytes); part > 1.1 {
			t.Errorf("shared reader %t: %.2f bytes fetched for each read", shared, part)
		}
	}
}

// TestParallelScansOfOneHandle: eight threads that each read their part of a
// file through one handle have each their read-ahead.
func TestParallelScansOfOneHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link{delay: 40 * time.Millisecond, rate: 400e6}
		c := newCache(t, blockcache.Config{Fetch: l.fetch})
		defer c.Close()
		r := c.NewReader()
		start := time.Now()
		var wg sync.WaitGroup
		const threads, part = 8, 256 * mib
		for g := range int64(threads) {
			wg.Go(func() {
				var v blockcache.View
				for off := g * part; off < (g+1)*part; off += 128 * kib {
					if _, err := r.View(t.Context(), bigFile(threads*part), off, 128*kib, &v); err != nil {
						t.Error(err)
					}
					v.Release()
				}
			})
		}
		wg.Wait()
		if got := threads * part / time.Since(start).Seconds() / l.rate; got < 0.8 {
			t.Errorf("%.2f of the line", got)
		}
	})
}

// TestManyReadersShareTheWindow: one that reads on and on leaves room for those
// who come later, and one that stops does not keep others from it.
func TestManyReadersShareTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link{delay: 40 * time.Millisecond, rate: 400e6}
		c := newCache(t, blockcache.Config{Fetch: l.fetch, Budget: 128 * mib})
		defer c.Close()
		scan := func(file uint64, size int64) time.Duration {
			r, start := c.NewReader(), time.Now()
			key := blockcache.Key{File: file, Version: blockcache.Version{Size: 8 << 30}}
			var v blockcache.View
			for off := int64(0); off < size; off += mib {
				if _, err := r.View(t.Context(), key, off, mib, &v); err != nil {
					t.Error(err)
				}
				v.Release()
			}
			return time.Since(start)
		}
		alone := scan(1, 512*mib)
		for i := range uint64(8) { // all stop with much ahead of them
			scan(10+i, 512*mib)
		}
		time.Sleep(3 * time.Second)
		if again := scan(2, 512*mib); again > alone*11/10 {
			t.Errorf("after readers that stopped: %v, and %v alone", again, alone)
		}
		var slowest atomic.Int64
		var wg sync.WaitGroup
		for i := range uint64(4) {
			wg.Go(func() { slowest.Store(max(slowest.Load(), int64(scan(20+i, 512*mib)))) })
		}
		wg.Wait()
		if got := time.Duration(slowest.Load()); got > 4*alone {
			t.Errorf("four at a time: %v, and %v alone", got, alone)
		}
	})
}
