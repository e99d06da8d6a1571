package spool

import (
	"slices"
	"sort"
)

type page [PageSize]byte

// extent is a run of dirty bytes of one era. Those that an upload has taken
// have the number of its batch.
type extent struct {
	off, end int64
	era      Mark
	batch    uint64
}

// joins reports whether e and the extent behind it are one.
func (e extent) joins(next extent) bool {
	return e.end == next.off && e.era == next.era && e.batch == next.batch
}

// flight is what a batch took.
type flight struct {
	ranges []Range
	era    Mark // of the oldest of its bytes
}

// file is the dirty data of one file. Spool.mu guards it.
type file struct {
	era Mark // of what is written now
	// extents are in order and not empty, do not overlap, and touch only where
	// they do not join.
	extents []extent
	// flying holds what the batches of the file took, whatever became of the
	// bytes since.
	flying map[uint64]flight
	// pages holds each page, by its number, that has a dirty byte.
	pages map[int64]*page
	total int64 // dirty bytes
}

// missingPages counts the pages that a write of [off, end) would add.
func (f *file) missingPages(off, end int64) (n int64) {
	for i := off / PageSize; i*PageSize < end; i++ {
		if f.pages[i] == nil {
			n++
		}
	}
	return n
}

func (f *file) write(p []byte, off int64, newPage func() *page) {
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

// insert makes [off, end) dirty, and no batch's: in the present era, but for what
// is dirty there already, which is waited for since another one. What a batch has
// taken is still on its way as it was: see abort.
func (f *file) insert(off, end int64) {
	first := sort.Search(len(f.extents), func(i int) bool { return f.extents[i].end >= off })
	last := first
	var all pieces
	at := off // where the rest of what is written begins
	var right extent
	for ; last < len(f.extents) && f.extents[last].off <= end; last++ {
		e := f.extents[last]
		f.total -= e.end - e.off
		all.add(extent{e.off, min(e.end, off), e.era, e.batch})
		if e.batch == 0 && e.off < end && e.end > off {
			all.add(extent{at, e.off, f.era, 0})
			at = min(e.end, end)
			all.add(extent{max(e.off, off), at, e.era, 0})
		}
		right = extent{max(e.off, end), e.end, e.era, e.batch}
	}
	all.add(extent{at, end, f.era, 0})
	all.add(right)
	for _, e := range all {
		f.total += e.end - e.off
	}
	f.extents = slices.Replace(f.extents, first, last, all...)
}

// pieces are extents in order.
type pieces []extent

// add adds e, unless it is empty, to the end.
func (p *pieces) add(e extent) {
	n := len(*p)
	switch {
	case e.off >= e.end:
	case n > 0 && (*p)[n-1].joins(e):
		(*p)[n-1].end = e.end
	default:
		*p = append(*p, e)
	}
}

// take gives up to limit bytes to a batch and returns where they are.
func (f *file) take(limit int64, until Mark, batch uint64) (ranges []Range) {
	oldest := Always
	for i := 0; i < len(f.extents) && limit > 0; i++ {
		e := f.extents[i]
		if e.batch != 0 || e.era > until || f.flies(e) {
			continue
		}
		if e.end-e.off > limit {
			rest := e
			rest.off = e.off + limit
			e.end = rest.off
			f.extents = slices.Insert(f.extents, i+1, rest)
		}
		e.batch = batch
		oldest = min(oldest, e.era)
		f.extents[i] = e
		limit -= e.end - e.off
		if n := len(ranges); n > 0 && ranges[n-1].End() == e.off {
			ranges[n-1].Len += e.end - e.off
		} else {
			ranges = append(ranges, Range{e.off, e.end - e.off})
		}
	}
	if len(ranges) > 0 {
		if f.flying == nil {
			f.flying = make(map[uint64]flight)
		}
		f.flying[batch] = flight{ranges, oldest}
	}
	return ranges
}

// flies reports whether older bytes for some place of e are on their way.
func (f *file) flies(e extent) bool {
	for _, fl := range f.flying {
		for _, r := range fl.ranges {
			if r.Off < e.end && e.off < r.End() {
				return true
			}
		}
	}
	return false
}

// commit drops the bytes of a batch and returns where it took them.
func (f *file) commit(batch uint64) []Range {
	f.extents = slices.DeleteFunc(f.extents, func(e extent) bool { return e.batch == batch })
	f.recount()
	taken := f.flying[batch].ranges
	delete(f.flying, batch)
	return taken
}

// abort makes the bytes of a batch ordinary dirty bytes. Those that were written
// over meanwhile will never arrive, so what is in their place is waited for since
// they were.
func (f *file) abort(batch uint64) {
	fl := f.flying[batch]
	var all pieces
	for _, e := range f.extents {
		if e.batch == batch {
			e.batch = 0
			all.add(e)
			continue
		}
		for len(fl.ranges) > 0 && fl.ranges[0].End() <= e.off {
			fl.ranges = fl.ranges[1:]
		}
		for _, r := range fl.ranges {
			if r.Off >= e.end {
				break
			}
			from, to := max(e.off, r.Off), min(e.end, r.End())
			all.add(extent{e.off, from, e.era, e.batch})
			all.add(extent{from, to, min(e.era, fl.era), e.batch})
			e.off = to
		}
		all.add(e)
	}
	f.extents = all
	delete(f.flying, batch)
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

// truncate drops the bytes at size and behind it, and returns where there were
// any.
func (f *file) truncate(size int64) []Range {
	behind := f.endBelow(1<<63 - 1)
	for i := len(f.extents) - 1; i >= 0 && f.extents[i].end > size; i-- {
		if f.extents[i].off >= size {
			f.extents = f.extents[:i]
			continue
		}
		f.extents[i].end = size
	}
	f.recount()
	if behind <= size {
		return nil
	}
	return []Range{{size, behind - size}}
}

func (f *file) recount() {
	f.total = 0
	for _, e := range f.extents {
		f.total += e.end - e.off
	}
}

// freeClean moves the pages of r that have no dirty byte any more to spare.
func (f *file) freeClean(r Range, spare []*page) []*page {
	if pages := r.Len/PageSize + 2; pages > int64(len(f.pages)) { // a sparse file
		for i := range f.pages {
			spare = f.freeIfClean(i, spare)
		}
		return spare
	}
	for i := r.Off / PageSize; i*PageSize < r.End(); i++ {
		spare = f.freeIfClean(i, spare)
	}
	return spare
}

func (f *file) freeIfClean(i int64, spare []*page) []*page {
	pg := f.pages[i]
	if pg == nil {
		return spare
	}
	off, end := i*PageSize, (i+1)*PageSize
	k := sort.Search(len(f.extents), func(k int) bool { return f.extents[k].end > off })
	if k < len(f.extents) && f.extents[k].off < end {
		return spare
	}
	delete(f.pages, i)
	return append(spare, pg)
}

func (f *file) dirtyUntil(mark Mark) bool {
	return slices.ContainsFunc(f.extents, func(e extent) bool { return e.era <= mark })
}

func (f *file) endBelow(size int64) int64 {
	for _, e := range slices.Backward(f.extents) {
		if e.off < size {
			return min(e.end, size)
		}
	}
	return 0
}
