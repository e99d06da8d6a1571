package spool

import (
	"slices"
	"sort"
)

type page [PageSize]byte

// extent is a run of dirty bytes. Those that an upload has taken are sent.
type extent struct {
	off, end int64
	sent     bool
}

// file is the dirty data of one file. Spool.mu guards it.
type file struct {
	// extents are in order and not empty, do not overlap, and touch only where
	// sent differs.
	extents []extent
	// pages holds each page, by its number, that has a dirty byte.
	pages map[int64]*page
	total int64 // dirty bytes
}

func newPage() *page { return new(page) }

// missingPages counts the pages that a write of [off, end) would add.
func (f *file) missingPages(off, end int64) (n int64) {
	for i := off / PageSize; i*PageSize < end; i++ {
		if f.pages[i] == nil {
			n++
		}
	}
	return n
}

func (f *file) write(p []byte, off int64) {
	end := off + int64(len(p))
	for o := off; o < end; {
		i := o / PageSize
		pg := f.pages[i]
		if pg == nil {
			pg = newPage()
			f.pages[i] = pg
		}
		o += int64(copy(pg[o%PageSize:], p[o-off:]))
	}
	f.insert(off, end)
}

// insert makes [off, end) dirty and not sent. It joins what is not sent and
// cuts it out of what is: those bytes have to go again.
func (f *file) insert(off, end int64) {
	first := sort.Search(len(f.extents), func(i int) bool { return f.extents[i].end >= off })
	last := first
	lo, hi := off, end
	var left, right []extent // of sent extents, at most one each
	for ; last < len(f.extents) && f.extents[last].off <= end; last++ {
		e := f.extents[last]
		f.total -= e.end - e.off
		if !e.sent {
			lo, hi = min(lo, e.off), max(hi, e.end)
			continue
		}
		if e.off < off {
			left = append(left, extent{e.off, min(e.end, off), true})
		}
		if e.end > end {
			right = append(right, extent{max(e.off, end), e.end, true})
		}
	}
	now := append(left, extent{lo, hi, false})
	now = append(now, right...)
	for _, e := range now {
		f.total += e.end - e.off
	}
	f.extents = slices.Replace(f.extents, first, last, now...)
}

// overlay copies dirty bytes to p and returns the ranges without.
func (f *file) overlay(p []byte, off int64) (gaps []Range) {
	end := off + int64(len(p))
	pos := off
	i := sort.Search(len(f.extents), func(i int) bool { return f.extents[i].end > off })
	for ; i < len(f.extents) && f.extents[i].off < end; i++ {
		e := f.extents[i]
		from, to := max(e.off, off), min(e.end, end)
		if from > pos {
			gaps = append(gaps, Range{pos, from - pos})
		}
		f.read(p[from-off:to-off], from)
		pos = to
	}
	if pos < end {
		gaps = append(gaps, Range{pos, end - pos})
	}
	return gaps
}

// read copies from pages that are known to be there.
func (f *file) read(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, f.pages[off/PageSize][off%PageSize:])
		p = p[n:]
		off += int64(n)
	}
}

// markAll sets the sent flag of all extents and joins those that touch.
func (f *file) markAll(sent bool) {
	joined := f.extents[:0]
	for _, e := range f.extents {
		e.sent = sent
		if n := len(joined); n > 0 && joined[n-1].end == e.off {
			joined[n-1].end = e.end
			continue
		}
		joined = append(joined, e)
	}
	f.extents = joined
}

func (f *file) dropSent() {
	f.extents = slices.DeleteFunc(f.extents, func(e extent) bool { return e.sent })
	f.recount()
}

func (f *file) truncate(size int64) {
	for i := len(f.extents) - 1; i >= 0 && f.extents[i].end > size; i-- {
		if f.extents[i].off >= size {
			f.extents = f.extents[:i]
			continue
		}
		f.extents[i].end = size
	}
	f.recount()
}

func (f *file) recount() {
	f.total = 0
	for _, e := range f.extents {
		f.total += e.end - e.off
	}
}

// freeClean drops the pages that have no dirty byte any more.
func (f *file) freeClean() {
	for i := range f.pages {
		off, end := i*PageSize, (i+1)*PageSize
		k := sort.Search(len(f.extents), func(k int) bool { return f.extents[k].end > off })
		if k == len(f.extents) || f.extents[k].off >= end {
			delete(f.pages, i)
		}
	}
}

func (f *file) bytes() int64 { return f.total }

func (f *file) endBelow(size int64) int64 {
	for _, e := range slices.Backward(f.extents) {
		if e.off < size {
			return min(e.end, size)
		}
	}
	return 0
}
