package spool

import (
	"fmt"
	"math"
	"sync"
)

// PageSize is the unit in which the budget is spent, in bytes: a single dirty
// byte costs a page.
const PageSize = 16 << 10

// MinLimit is the smallest budget: any write of up to MinLimit/2 bytes fits an
// empty spool, wherever it starts.
const MinLimit = 8 * PageSize

// sparePages is how many pages an empty spool keeps for the next writer.
const sparePages = 1 << 20 / PageSize

// copyStep is how many bytes Copy copies without letting writers in between.
const copyStep = 512 << 10

// Range is a piece of a file.
type Range struct {
	Off, Len int64 // bytes
}

// End returns the offset of the first byte behind r.
func (r Range) End() int64 { return r.Off + r.Len }

// Mark is a moment in the life of a file: see [Spool.Mark].
type Mark uint64

// Always is the Mark before which everything is written.
const Always Mark = math.MaxUint64

// Batch is a part of a file's dirty bytes on its way to the server.
type Batch struct {
	Ranges []Range // in order, neighbours joined
	number uint64
}

// Bytes returns how many bytes the batch has.
func (b Batch) Bytes() (n int64) {
	for _, r := range b.Ranges {
		n += r.Len
	}
	return n
}

// End returns the offset behind the last byte of the batch.
func (b Batch) End() int64 { return b.Ranges[len(b.Ranges)-1].End() }

// Spool is the dirty data of all files of a mount.
type Spool struct {
	limit int64

	mu    sync.Mutex // guards what follows, and the files
	used  int64      // bytes of all pages
	spare []*page    // pages of nobody
	files map[uint64]*file
	last  uint64        // number of the newest batch
	freed chan struct{} // closed, and replaced, when pages become free
}

// Stats is a snapshot of a Spool.
type Stats struct {
	Limit int64 // budget in bytes
	Used  int64 // bytes of memory held for dirty bytes, at most Limit
	Dirty int64 // bytes to be uploaded
	Files int   // files that have any
}

// New returns an empty spool that holds at most limit bytes. A smaller limit
// than [MinLimit] means MinLimit.
func New(limit int64) *Spool {
	return &Spool{
		limit: max(limit, MinLimit),
		files: make(map[uint64]*file),
		freed: make(chan struct{}),
	}
}

// MaxWrite returns the longest write that an empty spool always has room for,
// in bytes. Longer ones must be split.
func (s *Spool) MaxWrite() int { return int(min(s.limit/2, 1<<30)) }

// TryWrite stores p, to be uploaded to offset off of a file. It copies p, whole
// or not at all: without room for it TryWrite changes nothing and returns a
// channel that is closed when some room was made, for the caller to try again.
func (s *Spool) TryWrite(id uint64, p []byte, off int64) (ok bool, retry <-chan struct{}) {
	if len(p) == 0 {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		f = &file{pages: make(map[int64]*page)}
	}
	need := f.missingPages(off, off+int64(len(p))) * PageSize
	if s.used+need > s.limit {
		return false, s.freed
	}
	s.used += need
	s.files[id] = f
	f.write(p, off, s.page)
	return true, nil
}

// page returns a page with anything in it.
func (s *Spool) page() *page {
	n := len(s.spare)
	if n == 0 {
		return new(page)
	}
	p := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return p
}

// Overlay copies the dirty bytes among the len(p) bytes at off into p, and
// returns the ranges of the file that have none, in order: what the caller has
// to get elsewhere.
func (s *Spool) Overlay(id uint64, p []byte, off int64) (gaps []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		if len(p) == 0 {
			return nil
		}
		return []Range{{off, int64(len(p))}}
	}
	return f.overlay(p, off)
}

// Mark ends one era of a file and returns it: what was written to the file
// before the call was written in that era or an earlier one. What is written over
// bytes that the server does not have yet takes their place in this too: until
// then it has neither.
func (s *Spool) Mark(id uint64) Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		return 0
	}
	f.era++
	return f.era - 1
}

// Take takes dirty bytes of a file for uploading: at most limit of them, written
// until mark, in order of their place. They stay readable and count as dirty
// until [Spool.Commit]; what is written over them meanwhile stays dirty after
// it, and is not taken before the batch has ended, so that older bytes never
// arrive after newer ones. Without ok there is nothing to take, now.
func (s *Spool) Take(id uint64, limit int64, until Mark) (b Batch, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		return Batch{}, false
	}
	ranges := f.take(limit, until, s.last+1)
	if len(ranges) == 0 {
		return Batch{}, false
	}
	s.last++
	return Batch{Ranges: ranges, number: s.last}, true
}

// Copy reads dirty bytes: len(p) of them, at off. All must be dirty, as those of
// a batch are until it ends.
func (s *Spool) Copy(id uint64, p []byte, off int64) error {
	for len(p) > 0 {
		n := min(len(p), copyStep)
		if err := s.copy(id, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (s *Spool) copy(id uint64, p []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil || len(f.overlay(p, off)) > 0 {
		return fmt.Errorf("spool: file %d is not dirty at %d+%d", id, off, len(p))
	}
	return nil
}

// Commit drops the bytes of a batch: the server has them.
func (s *Spool) Commit(id uint64, b Batch) {
	s.change(id, func(f *file) []Range { return f.commit(b.number) })
}

// Abort makes the bytes of a batch ordinary dirty bytes again.
func (s *Spool) Abort(id uint64, b Batch) {
	s.change(id, func(f *file) []Range { f.abort(b.number); return nil })
}

// Truncate drops the dirty bytes at size and behind it. Not while there is a
// batch of the file.
func (s *Spool) Truncate(id uint64, size int64) {
	s.change(id, func(f *file) []Range { return f.truncate(size) })
}

// Drop forgets everything about a file.
func (s *Spool) Drop(id uint64) { s.Truncate(id, 0) }

// change applies f to a file and gives back the pages that are no longer used
// among the ranges that f returns.
func (s *Spool) change(id uint64, f func(*file) []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.files[id]
	if file == nil {
		return
	}
	before := len(s.spare)
	for _, r := range f(file) {
		s.spare = file.freeClean(r, s.spare)
	}
	if len(file.extents) == 0 {
		delete(s.files, id)
	}
	n := len(s.spare) - before
	if n == 0 {
		return
	}
	s.used -= int64(n) * PageSize
	if s.used == 0 && len(s.spare) > sparePages {
		s.spare = append([]*page(nil), s.spare[:sparePages]...)
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// Dirty reports whether a file has dirty bytes.
func (s *Spool) Dirty(id uint64) bool { return s.DirtyUntil(id, Always) }

// DirtyUntil reports whether a file has dirty bytes that were written until mark.
func (s *Spool) DirtyUntil(id uint64, mark Mark) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	return f != nil && f.dirtyUntil(mark)
}

// Bytes returns how many dirty bytes a file has.
func (s *Spool) Bytes(id uint64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return f.total
	}
	return 0
}

// End returns the offset behind the last dirty byte of a file, 0 if it has none.
func (s *Spool) End(id uint64) int64 {
	return s.EndBelow(id, 1<<63-1)
}

// EndBelow returns what [Spool.End] would after a [Spool.Truncate] to size.
func (s *Spool) EndBelow(id uint64, size int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return f.endBelow(size)
	}
	return 0
}

// Stats returns a snapshot.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Limit: s.limit, Used: s.used, Files: len(s.files)}
	for _, f := range s.files {
		st.Dirty += f.total
	}
	return st
}

// Used returns the bytes of memory held, and the limit of them.
func (s *Spool) Used() (used, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.limit
}
