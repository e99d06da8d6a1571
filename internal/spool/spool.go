package spool

import (
	"fmt"
	"sync"
)

// PageSize is the unit in which the budget is spent, in bytes: a single dirty
// byte costs a page.
const PageSize = 16 << 10

// MinLimit is the smallest budget: any write of up to MinLimit/2 bytes fits an
// empty spool, wherever it starts.
const MinLimit = 8 * PageSize

// Range is a piece of a file.
type Range struct {
	Off, Len int64 // bytes
}

// End returns the offset of the first byte behind r.
func (r Range) End() int64 { return r.Off + r.Len }

// Spool is the dirty data of all files of a mount.
type Spool struct {
	limit int64

	mu    sync.Mutex // guards what follows, and the files
	used  int64      // bytes of all pages
	files map[uint64]*file
	freed chan struct{} // closed, and replaced, when pages become free
}

// Stats is a snapshot of a Spool.
type Stats struct {
	Limit int64 // budget in bytes
	Used  int64 // bytes of memory held, at most Limit
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
	f.write(p, off)
	return true, nil
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

// Begin takes all dirty bytes of a file for uploading and returns where they
// are, in order, neighbours joined. They stay readable and count as dirty until
// [Spool.Commit]; what is written meanwhile stays dirty after it. One upload of
// a file at a time.
func (s *Spool) Begin(id uint64) []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		return nil
	}
	f.markAll(true)
	ranges := make([]Range, len(f.extents))
	for i, e := range f.extents {
		ranges[i] = Range{e.off, e.end - e.off}
	}
	return ranges
}

// Copy reads dirty bytes: len(p) of them, at off. All must be dirty, as those
// are that Begin returned, until Commit.
func (s *Spool) Copy(id uint64, p []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil || len(f.overlay(p, off)) > 0 {
		return fmt.Errorf("spool: file %d is not dirty at %d+%d", id, off, len(p))
	}
	return nil
}

// Commit drops what the last Begin took: the server has it.
func (s *Spool) Commit(id uint64) {
	s.change(id, func(f *file) { f.dropSent() })
}

// Abort makes what the last Begin took ordinary dirty bytes again.
func (s *Spool) Abort(id uint64) {
	s.change(id, func(f *file) { f.markAll(false) })
}

// Truncate drops the dirty bytes at size and behind it. Not between Begin and
// Commit.
func (s *Spool) Truncate(id uint64, size int64) {
	s.change(id, func(f *file) { f.truncate(size) })
}

// Drop forgets everything about a file.
func (s *Spool) Drop(id uint64) {
	s.change(id, func(f *file) { f.truncate(0) })
}

// change applies f to a file and gives back what it no longer uses.
func (s *Spool) change(id uint64, f func(*file)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.files[id]
	if file == nil {
		return
	}
	before := len(file.pages)
	f(file)
	file.freeClean()
	if len(file.extents) == 0 {
		delete(s.files, id)
	}
	if n := before - len(file.pages); n > 0 {
		s.used -= int64(n) * PageSize
		close(s.freed)
		s.freed = make(chan struct{})
	}
}

// Dirty reports whether a file has dirty bytes.
func (s *Spool) Dirty(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[id] != nil
}

// Bytes returns how many dirty bytes a file has.
func (s *Spool) Bytes(id uint64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return f.bytes()
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
		st.Dirty += f.bytes()
	}
	return st
}

// Used returns the bytes of memory held, and the limit of them.
func (s *Spool) Used() (used, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.limit
}
