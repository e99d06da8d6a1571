package uftp

import "time"

// A lane whose pipe is empty keeps its session for a moment: who reads at random
// asks for the next bytes when the last have come, and a lane that ended would
// have to begin again, with goroutines and a session.

// lingerTime is how long a lane stays without anything to do, beside lingerTrips
// round trips.
const (
	lingerTime  = 5 * time.Millisecond
	lingerTrips = 2
)

// lingers reports whether a lane that has nothing to send stays; if so, it is
// signalled when it need not any more. Nobody may wait for its session. Here and
// below the mutex is held.
func (l *lane) lingers() bool {
	if l.closed || l.leaves() || int(l.pool.wanted.Load()) > l.yields {
		return false
	}
	since := l.moved
	if l.quiet.After(since) {
		since = l.quiet
	}
	left := time.Until(since.Add(lingerTime + lingerTrips*l.dialer.trip.get()))
	if left <= 0 {
		return false
	}
	l.easeAfter(left)
	return true
}

// easeAfter has the lanes look, after a time, whether they are still needed.
func (e *engine) easeAfter(d time.Duration) {
	if e.easing == nil && !e.closed {
		e.easing = time.AfterFunc(d, e.ease)
	}
}

func (e *engine) ease() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.easing = nil
	e.signal()
	if e.queue.empty() {
		e.giveUp(e.spread())
	}
	for _, l := range e.lanes {
		if l.s == nil {
			e.easeAfter(smallTime)
		}
	}
}
