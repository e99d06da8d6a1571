package blockcache

import (
	"math/rand/v2"
	"testing"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func newPattern() *pattern { return &pattern{block: mib, most: 128 * mib} }

// kind names what a plan takes a reader for.
func kind(p plan) string {
	switch {
	case !p.scan:
		return "random"
	case p.reach > 0:
		return "backward"
	case p.clip > 0:
		return "forward"
	}
	return "strided"
}

func TestPatternKinds(t *testing.T) {
	const n = 64 * kib
	for _, tc := range []struct {
		name string
		offs []int64 // in units of n
		want string  // of the last
	}{
		{"from the start", []int64{0}, "forward"},
		{"not from the start", []int64{100}, "random"},
		{"two in a row", []int64{100, 101}, "random"},
		{"three in a row", []int64{100, 101, 102}, "forward"},
		{"one early", []int64{0, 1, 2, 4, 3, 5}, "forward"},
		{"pairs swapped", []int64{0, 2, 1, 4, 3, 6, 5, 8}, "forward"},
		{"two threads take turns", []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 9, 11, 13, 15, 16}, "forward"},
		{"the header is read again", []int64{0, 1, 2, 3, 0, 4}, "forward"},
		{"random, then on in the scan", []int64{0, 1, 2, 3, 900, 700, 800, 4}, "forward"},
		{"a scan elsewhere", []int64{0, 1, 2, 3, 900, 901, 902}, "forward"},
		{"a jump out of a scan", []int64{0, 1, 2, 3, 900}, "random"},
		{"two scans in turns", []int64{10, 500, 11, 501, 12, 502}, "forward"},
		{"stride", []int64{7, 27, 47, 67}, "strided"},
		{"stride from the start", []int64{0, 20, 40, 60}, "strided"},
		{"short stride from the start", []int64{0, 2, 4, 6}, "strided"},
		{"stride with pieces of two requests", []int64{0, 1, 20, 21, 40, 41, 60}, "strided"},
		{"stride with one left out", []int64{0, 20, 40, 60, 100}, "strided"},
		{"stride with two swapped", []int64{0, 20, 40, 60, 100, 80, 120}, "strided"},
		{"stride with a header between", []int64{0, 20, 40, 60, 80, 3, 100}, "strided"},
		{"stride that ends in a scan", []int64{0, 20, 40, 60, 61, 62, 63}, "forward"},
		{"stride backward", []int64{900, 850, 800, 750}, "strided"},
		{"backward", []int64{900, 899, 898, 897}, "backward"},
		{"backward, one early", []int64{900, 899, 898, 897, 895, 896, 894}, "backward"},
		{"not all steps are equal", []int64{0, 20, 40, 61}, "random"},
	} {
		p := newPattern()
		got := ""
		for _, off := range tc.offs {
			got = kind(p.next(off*n, n))
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestPatternRandomStaysRandom lets 16 threads read one file at random: it is
// never taken for anything else for long.
func TestPatternRandomStaysRandom(t *testing.T) {
	p := newPattern()
	rnd := rand.New(rand.NewPCG(1, 2))
	var wanted, fetched int64
	for range 100_000 {
		r := p.next(rnd.Int64N(1<<20)*4*kib, 4*kib)
		wanted += 4 * kib
		fetched += r.to - r.from + r.count*r.length
	}
	if fetched > wanted*11/10 {
		t.Errorf("%d bytes for %d", fetched, wanted)
	}
}

// TestPatternGrain: requests that lie close together are worth larger fetches,
// scattered ones are not.
func TestPatternGrain(t *testing.T) {
	p := newPattern()
	rnd := rand.New(rand.NewPCG(1, 2))
	last := func(off int64) int64 { r := p.next(off, 4*kib); return r.to - r.from }
	got := int64(0)
	for i := range int64(40) {
		got = last((i/4*31%17*1000+rnd.Int64N(16))*4*kib + 1<<30)
	}
	if got != 64*kib {
		t.Errorf("close together: %d bytes a fetch, want 64 KiB", got)
	}
	for range 40 {
		got = last(rnd.Int64N(1<<20) * 4 * kib)
	}
	if got != 4*kib {
		t.Errorf("scattered: %d bytes a fetch, want 4 KiB", got)
	}
}

// TestPatternStrides: exactly the pieces to come are fetched, each once, and if
// the kernel rounds to pages, a page on both sides at most.
func TestPatternStrides(t *testing.T) {
	for _, tc := range []struct {
		stride, length, pad int64
	}{
		{mib, 64 * kib, 0}, {-mib, 64 * kib, 0}, {1_000_000, 64 * kib, 4 * kib}, {100 * kib, 8 * kib, 0},
	} {
		p := newPattern()
		start := int64(0)
		if tc.stride < 0 {
			start = 1 << 30
		}
		fetched := map[int64]bool{} // offsets of pieces
		length := int64(0)
		var missed []int64
		for i := range int64(200) {
			off := pageStart(start + i*tc.stride)
			r := p.next(off, tc.length)
			if !covers(fetched, length, off, tc.length) {
				missed = append(missed, i)
			}
			if i >= 3 && r.length != tc.length+2*tc.pad && r.length != tc.length {
				t.Fatalf("stride %d: pieces of %d bytes, want %d", tc.stride, r.length, tc.length)
			}
			for k := range r.count {
				fetched[r.first+k*r.step], length = true, r.length
			}
			if r.window != nil {
				r.window.upTo = r.first + r.count*r.step + r.reach
			}
		}
		// Four to learn the stride, and as many once it shows to be uneven.
		if len(missed) > 4+int(tc.pad/kib) {
			t.Errorf("stride %d: pieces %d were not fetched ahead", tc.stride, missed)
		}
		if most := 200 + firstWindow/int(tc.length) + 20; len(fetched) > most {
			t.Errorf("stride %d: %d pieces for 200", tc.stride, len(fetched))
		}
	}
}

func covers(fetched map[int64]bool, length, off, n int64) bool {
	for at := range fetched {
		if at <= off && off+n <= at+length {
			return true
		}
	}
	return false
}

// TestPatternWindow: little at first, four times as much and then twice whenever
// the reader waits for bytes that were sent for with the last size, and half of
// the budget at most.
func TestPatternWindow(t *testing.T) {
	p := newPattern()
	first := p.next(0, 16*kib)
	if got := first.to - first.from + first.count*first.length; got > 256*kib {
		t.Errorf("the first fetch is of %d bytes", got)
	}
	first.window.waited()
	size := int64(firstWindow)
	for off := int64(16 * kib); off < 1<<30; off += 128 * kib {
		r := p.next(off, 128*kib)
		r.window.upTo = r.first + r.count*r.step
		r.window.waited() // always
		if r.window.size > 4*size || size >= quickWindow && r.window.size > 2*size {
			t.Fatalf("at %d the window went from %d to %d", off, size, r.window.size)
		}
		size = r.window.size
		if r.step > mib || r.count > 0 && r.step < 128*kib {
			t.Fatalf("fetches of %d bytes", r.step)
		}
	}
	if size != 128*mib {
		t.Errorf("window of %d bytes in the end", size)
	}
}

// TestPatternLeaps: a scan that reads the first megabyte of a file, and one more
// that it has not waited for, is as far ahead as keeps the way to the server busy;
// what reads less, or at random, is not.
func TestPatternLeaps(t *testing.T) {
	const reach = 48 * mib
	for _, tc := range []struct {
		name    string
		offs    []int64
		n, most int64
		want    int64 // bytes planned ahead by the last, at least
		less    bool  // at most, instead
	}{
		{"from the start", []int64{0, 1}, mib, 128 * mib, reach, false},
		{"from elsewhere", []int64{50, 51, 52}, mib, 128 * mib, reach, false},
		{"little memory", []int64{0, 1}, mib, 8 * mib, 8 * mib, true},
		{"the first request", []int64{0}, mib, 128 * mib, firstWindow, true},
		{"a header", []int64{0, 1, 2, 3}, 64 * kib, 128 * mib, firstWindow, true},
		{"random", []int64{0, 7, 90, 30, 2}, mib, 128 * mib, firstWindow, true},
	} {
		p := &pattern{block: mib, most: tc.most, reach: func() int64 { return reach }}
		var got plan
		for _, off := range tc.offs {
			got = p.next(off*tc.n, tc.n)
		}
		// Whole blocks, of which the last need not be.
		if ahead := got.count * got.length; tc.less && ahead > tc.want || !tc.less && ahead < tc.want-2*mib {
			t.Errorf("%s: %d bytes ahead, want %d", tc.name, ahead, tc.want)
		}
	}
}
