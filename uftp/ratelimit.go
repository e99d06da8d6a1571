package uftp

import (
	"sync"
	"time"
)

// rateLimit lets bytes pass at a rate, for all sessions of a client together. A
// piece that passes puts off the next one by the time it should take. The zero
// value has no limit.
type rateLimit struct {
	rate int64 // bytes per second; 0 is no limit

	mu   sync.Mutex
	free time.Time // when the next piece may pass
}

// perSecond is how many pieces of a limited transfer there should be in a second.
const perSecond = 10

// piece is the most that should pass at once, at least 4 KiB and at most n.
func (r *rateLimit) piece(n int) int {
	if r.rate == 0 {
		return n
	}
	return int(min(int64(n), max(4<<10, r.rate/perSecond)))
}

// delay returns how long it is until the next piece may pass.
func (r *rateLimit) delay(now time.Time) time.Duration {
	if r.rate == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.free.Sub(now)
}

// pass says that n bytes pass now, and returns how long the one who sends them
// should wait before.
func (r *rateLimit) pass(n int, now time.Time) time.Duration {
	if r.rate == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := max(0, r.free.Sub(now))
	r.free = now.Add(wait + time.Duration(float64(n)/float64(r.rate)*float64(time.Second)))
	return wait
}
