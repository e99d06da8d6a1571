package uftp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// An engine turns the concurrent reads of a client's callers into few sessions
// with many ranges on their way on each. Callers queue fetches; lanes, each with
// a session of the pool, take spans of them.
//
// The engine's mutex guards the queue, the fetches and the lanes. It is never
// held across the network, and taken after the pool's where both are.
type engine struct {
	pool    *pool
	dialer  *dialer
	timeout time.Duration // how long a fetch waits without anything of it moving
	fetches sync.Pool

	ctx    context.Context // of the lanes
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	queue   queue
	lanes   []*lane // with a session, or waiting for one
	flights []*flight
	tuner   tuner
	yields  int         // lanes that are about to give their session to others
	small   time.Time   // when a small read was asked for last
	crowd   crowd       // of small reads
	losses  int         // sessions lost since a span arrived
	easing  *time.Timer // lanes look whether they are still needed; nil if none may be too many
	expiry  *time.Timer // nil if nothing may expire
	closed  bool
}

func newEngine(p *pool, d *dialer, timeout time.Duration) *engine {
	e := &engine{pool: p, dialer: d, timeout: timeout}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.fetches.New = func() any { return &fetch{done: make(chan struct{}, 1)} }
	p.pressed, p.coming = e.pressed, e.coming
	return e
}

func (e *engine) newFetch() *fetch {
	f, _ := e.fetches.Get().(*fetch)
	return f
}

// forget takes back a fetch that is over.
func (e *engine) forget(f *fetch) {
	*f = fetch{done: f.done, redo: f.redo[:0]}
	e.fetches.Put(f)
}

// read makes one attempt at what f still lacks. A fetch that nothing was sent of
// ends at once with ctx; one on its way gets a moment to arrive, since nearly all
// do, and callers are interrupted for harmless reasons too. After read returns
// nobody touches the buffer.
func (e *engine) read(ctx context.Context, f *fetch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	f.over, f.err = false, nil
	if e.closed {
		e.mu.Unlock()
		return errClosed
	}
	e.came(f)
	e.enqueue(f, false)
	e.finish(f)
	e.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	if e.onItsWay(f) {
		t := time.NewTimer(e.dialer.linger)
		defer t.Stop()
		select {
		case <-f.done:
			return f.err
		case <-t.C:
		}
	}
	last := e.pool.reason()
	e.mu.Lock()
	e.fail(f, e.withReason(ctx.Err(), last))
	e.mu.Unlock()
	<-f.done
	return f.err
}

// onItsWay reports whether everything of f was sent.
func (e *engine) onItsWay(f *fetch) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.live > 0 && f.next >= f.end && len(f.redo) == 0
}

// withReason is the error of one who waited in vain until err: if there is no
// session, why. The mutex is held.
func (e *engine) withReason(err, last error) error {
	if last == nil || slices.ContainsFunc(e.lanes, func(l *lane) bool { return l.s != nil }) {
		return err
	}
	return fmt.Errorf("%w (%w)", last, err)
}

// The following are called with the mutex held.

// enqueue queues f if it has something to send, and sees that somebody does.
func (e *engine) enqueue(f *fetch, front bool) {
	if f.queued || !f.hasMore() {
		return
	}
	f.queued, f.waits = true, time.Now()
	e.queue.push(f, front)
	if e.expiry == nil {
		e.expiry = time.AfterFunc(e.timeout, e.expire)
	}
	if e.queue.class(f) == &e.queue.small {
		e.small = f.waits
	}
	if len(e.lanes) == 0 {
		trip := e.dialer.way()
		e.tuner.wake(f.waits, e.mostLanes(trip), trip)
		e.addLane()
		return
	}
	for len(e.lanes) < e.spread() {
		e.addLane()
	}
	e.signal()
}

// signal has all lanes look whether there is something to send.
func (e *engine) signal() {
	for _, l := range e.lanes {
		l.sendCond.Signal()
	}
}

// dequeue takes f out of the queue. Lanes that still wait for a session need not
// when nobody else waits for them.
func (e *engine) dequeue(f *fetch) {
	if !f.queued {
		return
	}
	f.queued = false
	e.queue.remove(f)
	if e.queue.empty() {
		e.giveUp(e.spread())
	}
}

// giveUp ends the waiting for a session of all lanes but the first n.
func (e *engine) giveUp(n int) {
	for _, l := range e.lanes[min(n, len(e.lanes)):] {
		if l.s == nil {
			l.cancel()
		}
	}
}

// fail ends an attempt at f, unless it is over. What is on its way of it will be
// asked for again by the next attempt.
func (e *engine) fail(f *fetch, err error) {
	if f.over {
		return
	}
	if f.err == nil {
		f.err = err
	}
	e.dequeue(f)
	for _, l := range e.lanes {
		l.release(f)
	}
	e.finish(f)
}

// finish tells the caller if f is over, who may use it for something else at
// once: it is the last that is done with f.
func (e *engine) finish(f *fetch) {
	if f.over || f.live > 0 || f.hasMore() {
		return
	}
	f.over = true
	e.left(f)
	f.done <- struct{}{}
}

func (e *engine) addLane() {
	l := newLane(e)
	e.lanes = append(e.lanes, l)
	e.wg.Go(l.live)
}

// retry queues what was on its way in a flight that did not arrive.
func (e *engine) retry(fl *flight, alone bool) {
	f := fl.f
	if f == nil {
		return
	}
	fl.f = nil
	f.live--
	if fl.alone {
		f.alone = false
	}
	if fl.pos < f.end {
		f.redo = append(f.redo, span{pos: fl.pos, n: min(fl.n, f.end-fl.pos), alone: alone || fl.alone})
	}
	e.enqueue(f, true)
	e.finish(f)
}

// expire fails the fetches that waited too long.
func (e *engine) expire() {
	last := e.pool.reason()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expiry = nil
	if e.closed || e.queue.empty() {
		return
	}
	next := e.timeout
	e.queue.all(func(f *fetch) {
		left := time.Until(f.since.Add(e.timeout))
		if left > 0 || f.live > 0 {
			next = min(next, max(left, time.Second))
			return
		}
		err := e.withReason(context.DeadlineExceeded, last)
		if !retryable(err) {
			err = fmt.Errorf("%w: no session within %v", ErrUnavailable, e.timeout)
		}
		e.fail(f, &expired{err})
	})
	e.expiry = time.AfterFunc(next, e.expire)
}

// expired is an error after which there is no time for another attempt.
type expired struct{ error }

func (x *expired) Unwrap() error { return x.error }

// refused fails all that wait, since there will be no session.
func (e *engine) refused(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.all(func(f *fetch) { e.fail(f, err) })
}

// pressed says that somebody waits for a session and there will be no further
// one. The pool's mutex is held.
func (e *engine) pressed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signal()
}

// coming counts the sessions that are about to be given back: all that is missing
// are the last replies. The pool's mutex is held.
func (e *engine) coming() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, l := range e.lanes {
		if l.s != nil && e.queue.empty() && time.Since(l.moved) < comingTime && !slices.ContainsFunc(l.pipe, func(fl *flight) bool { return fl.f != nil }) {
			n++
		}
	}
	return n
}

// snapshot returns what is on its way.
func (e *engine) snapshot() ClientStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := ClientStats{Lanes: e.active(), Window: e.tuner.window}
	for _, l := range e.lanes {
		st.Ranges += len(l.pipe)
		st.BytesInFlight += int64(l.inflight)
	}
	return st
}

// reach is [Client.Reach].
func (e *engine) reach() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	trip := e.dialer.way()
	return e.tuner.reach(time.Now(), e.mostLanes(trip), trip)
}

// stop ends all fetches; wait waits for the lanes, which end when their sessions
// are closed.
func (e *engine) stop() {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.expiry != nil {
		e.expiry.Stop()
	}
	if e.easing != nil {
		e.easing.Stop()
	}
	e.queue.all(func(f *fetch) { e.fail(f, errClosed) })
	e.signal()
}

func (e *engine) wait() { e.wg.Wait() }

// newFlight returns an empty flight.
func (e *engine) newFlight() *flight {
	if n := len(e.flights); n > 0 {
		fl := e.flights[n-1]
		e.flights = e.flights[:n-1]
		return fl
	}
	return &flight{}
}
