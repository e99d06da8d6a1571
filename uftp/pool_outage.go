package uftp

import (
	"errors"
	"fmt"
	"time"
)

const (
	// newsTime is for how long, at most, the last failure to open a session tells
	// what the next one would.
	newsTime = 10 * time.Second
	// outageGap is the most that two failures may be apart, by the clock, to belong to
	// the same outage: nobody has looked in between.
	outageGap = 2 * time.Minute
)

// outage is what a pool without a session knows of a server that does not answer.
// When that has lasted for the client's patience, nobody waits for the server any
// more: who comes fails at once, as long as what is known is new, and with the next
// failure otherwise. All of it is guarded by the pool's mutex.
type outage struct {
	patience time.Duration // 0 is without end
	since    time.Time     // when it was first found; zero if there is none
	seen     time.Time     // and when last
}

// note notes how an attempt to open a session failed. Whatever the server or the
// auth service answers, they are there.
func (o *outage) note(err error, now time.Time) {
	switch {
	case errors.Is(err, ErrBusy) || !errors.Is(err, ErrUnavailable):
		o.since = time.Time{}
	case o.since.IsZero() || now.Sub(o.seen) > min(outageGap, o.patience):
		o.since = now
	}
	o.seen = now
}

// over reports whether it has lasted for so long that nobody waits for its end.
func (o *outage) over(now time.Time) bool {
	return o.patience > 0 && !o.since.IsZero() && now.Sub(o.since) >= o.patience
}

// news reports whether what is known is new.
func (o *outage) news(now time.Time) bool {
	return now.Sub(o.seen) < min(newsTime, o.patience/4)
}

// final is the error of those who do not wait for the end.
func (o *outage) final(err error, now time.Time) error {
	return &final{fmt.Errorf("no session for %v: %w", now.Sub(o.since).Round(time.Second), err)}
}

// outageLocked is why nobody waits for a session now, if so. Who asks has it
// looked at from time to time whether that is still true, but does not wait for
// the answer.
func (p *pool) outageLocked(now time.Time) error {
	if len(p.all) > 0 || !p.outage.over(now) || !p.outage.news(now) {
		return nil
	}
	if p.opening == 0 && now.Sub(p.outage.seen) >= maxPause {
		p.spare = true
		p.growLocked()
	}
	return p.outage.final(p.last, now)
}
