package uftp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A writer turns the large writes of a client's callers into few sessions with
// several ranges on their way on each. Callers queue batches, each of one file;
// lanes, each with a session of the pool and at work for one file, take them.
//
// How many lanes there are is found out by measuring what the server confirms.
// Where that takes long there are many from the beginning: a connection may carry
// little there, and what a file's writer has in memory would be gone before it is
// known that more of them pay.
//
// The writer's mutex guards the files, the lanes and what is on its way. It is
// never held across the network, and taken after the pool's where both are.
type writer struct {
	pool    *pool
	dialer  *dialer
	timeout time.Duration // how long a batch waits while nothing of its file moves

	ctx    context.Context // of the lanes
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	files  map[string]*outlet // by clean path
	tuner  tuner
	lanes  int // of all files
	yields int // lanes that are about to give their session to others
	closed bool
}

// outlet is a file that is being written.
type outlet struct {
	path, wire string
	queue      []*batch // that nothing was sent of
	lanes      []*writeLane
	accepted   bool      // the server has begun to write to it, so it will again
	moved      time.Time // when something of it was confirmed, or nothing was on its way
}

// batch is what one call writes.
type batch struct {
	path  string
	parts []part
	bytes int
	end   int64                           // of the file, at least, when all is written
	fill  func(p []byte, off int64) error // gives what parts do not have
	done  chan struct{}                   // told once, when nobody touches the bytes any more
	lane  *writeLane                      // that has begun it
	next  int                             // part to send next
	after Info
	err   error
}

// part is a range of a batch.
type part struct {
	off, n int64
	data   []byte // nil if the batch's fill gives it
}

// errAgain says that nothing is wrong with a batch, but that it was behind one
// that was, or with one whose caller gave up: it must be sent again.
var errAgain = errors.New("write again")

const (
	// farWrites is how many lanes there are at once over a long way.
	farWrites = 8
	// confirmTrips is how many round trips a confirmation takes: the server's kernel
	// holds back one line until the one before is acknowledged.
	confirmTrips = 2
)

func newWriter(p *pool, d *dialer, timeout time.Duration) *writer {
	w := &writer{pool: p, dialer: d, timeout: timeout, files: make(map[string]*outlet)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	readers := p.pressed
	p.pressed = func() { readers(); w.pressed() }
	return w
}

// write makes one attempt at a batch. A batch that nothing was sent of ends at
// once with ctx; others get a moment, since nearly all make it. After write
// returns nobody touches the bytes.
func (w *writer) write(ctx context.Context, b *batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	*b = batch{path: b.path, parts: b.parts, bytes: b.bytes, end: b.end, fill: b.fill, done: make(chan struct{})}
	w.enqueue(b)
	w.mu.Unlock()
	t := time.NewTimer(w.timeout)
	defer t.Stop()
	for {
		select {
		case <-b.done:
			return b.err
		case <-ctx.Done():
			return w.abandon(b, ctx.Err())
		case <-t.C:
			if left := w.left(b); left > 0 {
				t.Reset(left)
				continue
			}
			return w.abandon(b, fmt.Errorf("%w: no session within %v", ErrUnavailable, w.timeout))
		}
	}
}

// left is how much longer a batch may wait to be begun.
func (w *writer) left(b *batch) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.files[b.path]
	if b.lane != nil || f == nil { // the lane sees to it
		return w.timeout
	}
	return time.Until(f.moved.Add(w.timeout))
}

// abandon gives up a batch for a reason.
func (w *writer) abandon(b *batch, reason error) error {
	last := w.pool.reason()
	w.mu.Lock()
	if b.lane == nil && b.err == nil {
		if f := w.files[b.path]; f != nil && slices.Contains(f.queue, b) {
			f.queue = slices.DeleteFunc(f.queue, func(other *batch) bool { return other == b })
			w.calm(f)
			idle := !slices.ContainsFunc(f.lanes, func(l *writeLane) bool { return l.s != nil })
			w.mu.Unlock()
			if idle && last != nil && !retryable(reason) {
				return fmt.Errorf("%w (%w)", last, reason)
			}
			return reason
		}
	}
	w.mu.Unlock()
	t := time.NewTimer(w.dialer.linger)
	defer t.Stop()
	select {
	case <-b.done:
	case <-t.C:
		w.mu.Lock()
		if l := b.lane; l != nil {
			l.giveUp(b)
		}
		w.mu.Unlock()
		<-b.done
	}
	switch {
	case errors.Is(b.err, errAgain):
		return reason
	case retryable(b.err):
		return fmt.Errorf("%w (%w)", reason, b.err)
	}
	return b.err
}

// tell ends an attempt at a batch.
func (b *batch) tell(err error) {
	b.err = err
	close(b.done)
}

// The following are called with the mutex held.

// enqueue queues b, and sees that somebody sends it.
func (w *writer) enqueue(b *batch) {
	f := w.files[b.path]
	if f == nil {
		f = &outlet{path: b.path, wire: wirePath(b.path), moved: time.Now()}
		w.files[b.path] = f
	}
	if w.lanes == 0 {
		w.tuner.wake(time.Now(), 1, w.trip())
	}
	if f.outstanding() == 0 {
		f.moved = time.Now()
	}
	f.queue = append(f.queue, b)
	w.staff(f)
	for _, l := range f.lanes {
		l.sendCond.Signal()
	}
}

// trip is how long a confirmation takes.
func (w *writer) trip() time.Duration { return confirmTrips * w.dialer.way() }

// paying is how many lanes pay, of all files together, as far as is known.
func (w *writer) paying() int {
	if w.dialer.way() >= longWay {
		return max(farWrites, w.tuner.lanes)
	}
	return max(1, w.tuner.lanes)
}

// window is how many bytes may be on their way in a lane.
func (w *writer) window() int {
	if w.dialer.way() >= longWay {
		return max(mostFirst, w.tuner.window)
	}
	return w.tuner.window
}

// staff adds lanes to a file that wants them.
func (w *writer) staff(f *outlet) {
	for len(f.queue) > 0 && len(f.lanes) < w.wanted(f) {
		l := newWriteLane(w, f)
		f.lanes = append(f.lanes, l)
		w.lanes++
		w.wg.Go(l.live)
	}
}

// wanted is how many lanes a file should have: one, and more as far as they pay
// and there is something to write for them.
func (w *writer) wanted(f *outlet) int {
	others := w.lanes - len(f.lanes)
	pay := min(w.paying(), w.pool.most()) - others
	return max(1, min(pay, (f.outstanding()+leastShare-1)/leastShare))
}

// outstanding is how many bytes are queued or on their way.
func (f *outlet) outstanding() (n int) {
	for _, b := range f.queue {
		n += b.bytes
	}
	for _, l := range f.lanes {
		n += l.inflight
	}
	return n
}

// share is how much of it is one lane's. Those that wait for a session have theirs
// soon.
func (f *outlet) share() int {
	return max(leastShare, f.outstanding()/max(1, len(f.lanes)))
}

// calm lets lanes that wait for a session no longer do so when there is nothing
// for them, and forgets a file that nothing is left of.
func (w *writer) calm(f *outlet) {
	if len(f.queue) > 0 {
		return
	}
	for _, l := range f.lanes {
		if l.s == nil {
			l.cancel()
		}
	}
	if len(f.lanes) == 0 && w.files[f.path] == f {
		delete(w.files, f.path)
	}
}

// refused fails all batches of a file that wait, since there will be no session.
func (w *writer) refused(f *outlet, err error) {
	for _, b := range f.queue {
		b.tell(err)
	}
	f.queue = nil
	w.calm(f)
}

// active counts the lanes with a session.
func (w *writer) active() (n int) {
	for _, f := range w.files {
		for _, l := range f.lanes {
			if l.s != nil {
				n++
			}
		}
	}
	return n
}

// pressed says that somebody waits for a session and there will be no further
// one. The pool's mutex is held.
func (w *writer) pressed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		for _, l := range f.lanes {
			l.sendCond.Signal()
		}
	}
}

// stop ends all batches that wait; wait waits for the lanes, which end when their
// sessions are closed.
func (w *writer) stop() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, f := range w.files {
		w.refused(f, errClosed)
	}
}

func (w *writer) wait() { w.wg.Wait() }
