package blockcache_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// BenchmarkHit reads 4 KiB at random from what is cached, with 16 goroutines.
func BenchmarkHit(b *testing.B) {
	const size = 64 * mib
	for _, view := range []bool{false, true} {
		b.Run(map[bool]string{false: "copy", true: "view"}[view], func(b *testing.B) {
			c, err := blockcache.New(blockcache.Config{Fetch: nothing})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for off := int64(0); off < size; off += mib {
				if _, err := c.ReadAt(b.Context(), bigFile(size), make([]byte, mib), off); err != nil {
					b.Fatal(err)
				}
			}
			var seed atomic.Uint64
			b.SetParallelism(8) // times GOMAXPROCS
			b.SetBytes(4 * kib)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, rnd := c.NewReader(), rand.New(rand.NewPCG(seed.Add(1), 0))
				p := make([]byte, 4*kib)
				var v blockcache.View
				for pb.Next() {
					off := rnd.Int64N(size/(4*kib)) * 4 * kib
					var err error
					if view {
						_, err = r.View(b.Context(), bigFile(size), off, 4*kib, &v)
						v.Release()
					} else {
						_, err = r.ReadAt(b.Context(), bigFile(size), p, off)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hits/s")
		})
	}
}

// BenchmarkMiss reads 4 KiB at random from what is not.
func BenchmarkMiss(b *testing.B) {
	c, err := blockcache.New(blockcache.Config{Fetch: nothing, Budget: 64 * mib})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	rnd, r, p := rand.New(rand.NewPCG(1, 0)), c.NewReader(), make([]byte, 4*kib)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadAt(b.Context(), bigFile(1<<40), p, rnd.Int64N(1<<28)*4*kib); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads a large file from start to end, as the kernel does.
func BenchmarkScan(b *testing.B) {
	for _, view := range []bool{false, true} {
		b.Run(map[bool]string{false: "copy", true: "view"}[view], func(b *testing.B) {
			c, err := blockcache.New(blockcache.Config{Fetch: nothing})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r, p, off := c.NewReader(), make([]byte, mib), int64(0)
			var v blockcache.View
			b.SetBytes(mib)
			b.ReportAllocs()
			for b.Loop() {
				if view {
					_, err = r.View(b.Context(), bigFile(1<<50), off, mib, &v)
					v.Release()
				} else {
					_, err = r.ReadAt(b.Context(), bigFile(1<<50), p, off)
				}
				if err != nil {
					b.Fatal(err)
				}
				off += mib
			}
		})
	}
}
