package transfer

import (
	"context"
	"sync"
)

// ranges hands out the pieces of one file, in order, never further than window
// ahead of the first piece that is not done. It is safe for concurrent use.
type ranges struct {
	size, step int64

	mu    sync.Mutex
	moved *sync.Cond
	next  int64          // the next piece begins here
	done  int64          // all before is done
	ahead map[int64]bool // pieces done beyond, by their beginnings
	err   error          // nothing is handed out any more
}

func newRanges(from, size, step int64) *ranges {
	r := &ranges{size: size, step: step, next: from, done: from, ahead: make(map[int64]bool)}
	r.moved = sync.NewCond(&r.mu)
	return r
}

// take returns the next piece; n is 0 when there are no more. It waits while
// the window is full.
func (r *ranges) take(ctx context.Context) (off, n int64, err error) {
	stop := context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && r.next < r.size && r.next+r.step > r.done+window {
		r.moved.Wait()
	}
	if r.err != nil {
		return 0, 0, r.err
	}
	off = r.next
	n = min(r.step, r.size-off)
	r.next += n
	return off, n, nil
}

// more reports whether another worker would find something to do.
func (r *ranges) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err == nil && r.next < r.size && r.next+r.step <= r.done+window
}

// finish notes that the piece at off is done.
func (r *ranges) finish(off int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead[off] = true
	for r.ahead[r.done] {
		delete(r.ahead, r.done)
		r.done += min(r.step, r.size-r.done)
	}
	r.moved.Broadcast()
}

// fail ends the work; the first error counts.
func (r *ranges) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.moved.Broadcast()
}

// result returns the error, and how many bytes from the beginning are done.
func (r *ranges) result() (done int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done, r.err
}
