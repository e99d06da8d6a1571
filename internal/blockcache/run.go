package blockcache

import (
	"context"
	"slices"
	"sync/atomic"
)

// runCost is what a run costs beside its bytes, on the Go heap, in bytes: the
// struct, its place in the index, and what the garbage collector leaves lying
// about.
const runCost = 512

// run is a fetched or flying piece of a file within one block.
type run struct {
	key  Key
	file *file
	off  int64
	buf  []byte
	done chan struct{} // closed when landed
	err  error         // set before done is closed

	// state is the number of pins, and dropped. Pins come under Cache.mu, to
	// runs that are not dropped, and go without. Whoever brings it to dropped
	// alone frees the run.
	state atomic.Int32

	// Guarded by Cache.mu.
	left  int64 // bytes that no scan has read
	ahead bool  // nobody wanted it yet
	read  bool  // somebody did
	land  int64 // when it landed ahead of its reader, nanoseconds since 1970
	list  *list // the list that it is in, if it is in one
	prev  *run  // in list
	next  *run
}

// dropped is the bit of run.state that says that the run is in no index.
const dropped = 1 << 30

func (r *run) end() int64 { return r.off + int64(len(r.buf)) }

// landed reports whether the bytes are there, or an error is.
func (r *run) landed() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// wait waits until r has landed or ctx is done.
func (r *run) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// file is what is cached of one file: runs by the number of their block, in the
// order of their offsets.
type file struct {
	version Version
	blocks  map[int64][]*run
	ahead   int64 // bytes that nobody has wanted yet, landed or not
}

// find returns the run that holds the byte at pos. If there is none it returns
// where the hole around pos begins and ends, within pos's block of size block.
func (f *file) find(pos, block int64) (r *run, from, to int64) {
	n := pos / block
	from, to = n*block, (n+1)*block
	runs := f.blocks[n]
	i, _ := slices.BinarySearchFunc(runs, pos, func(r *run, pos int64) int {
		if r.end() <= pos {
			return -1
		}
		return 1
	})
	if i < len(runs) {
		if runs[i].off <= pos {
			return runs[i], 0, 0
		}
		to = runs[i].off
	}
	if i > 0 {
		from = runs[i-1].end()
	}
	return nil, from, to
}

func (f *file) insert(r *run, block int64) {
	n := r.off / block
	i, _ := f.search(r, n)
	f.blocks[n] = slices.Insert(f.blocks[n], i, r)
}

func (f *file) remove(r *run, block int64) {
	n := r.off / block
	i, ok := f.search(r, n)
	if !ok {
		return
	}
	runs := slices.Delete(f.blocks[n], i, i+1)
	if len(runs) == 0 {
		delete(f.blocks, n)
		return
	}
	f.blocks[n] = runs
}

func (f *file) search(r *run, n int64) (int, bool) {
	i, found := slices.BinarySearchFunc(f.blocks[n], r.off, func(a *run, off int64) int { return int(a.off - off) })
	return i, found && f.blocks[n][i] == r
}
