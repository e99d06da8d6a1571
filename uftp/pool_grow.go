package uftp

import (
	"errors"
	"slices"
	"time"
)

const (
	// maxOpening is how many sessions are opened at a time.
	maxOpening = 16
	// openBurst is how many of them may begin at the same moment, and openEvery how
	// far apart they begin otherwise: the server's listen queue is two deep, and a
	// few more than that make it lose connections.
	openBurst, openEvery = 4, 10 * time.Millisecond
	// growAgain is how long a pool that could not grow lives with what it has. The
	// server frees slots up to 5 s late.
	growAgain = 5 * time.Second
	// growRefused is the same after a failure that needs somebody's help: nobody is
	// locked out for asking too often.
	growRefused = time.Minute
	// comingTime is how long a session that should be back in no time is waited for
	// before another one is opened.
	comingTime = 250 * time.Millisecond
)

// growLocked starts opening sessions if somebody waits and there may be more.
func (p *pool) growLocked() {
	for n := p.shortLocked(); p.opening < n; {
		p.opening++
		p.wg.Go(p.grow)
	}
}

// shortLocked is how many sessions should be being opened now.
func (p *pool) shortLocked() int {
	if p.closed || len(p.all) > 0 && time.Now().Before(p.growAfter) {
		return 0
	}
	if !time.Now().Before(p.growAfter) {
		p.setLimit(p.max)
	}
	n, limit := 0, p.sessions()
	bulk := limit - p.bulk // one may idle, for the others
	for _, b := range p.waiting {
		if !b.bulk {
			n++
		} else if bulk > 0 {
			bulk--
			n++
		}
	}
	if n == 0 && p.spare {
		n = 1
	}
	if len(p.all) == 0 {
		// The first one finds out whether the one-time password and the server are
		// alive.
		return min(n, 1)
	}
	if n > 0 && limit > len(p.all) {
		n -= p.comingLocked()
	}
	n = max(n, p.expected-len(p.all))
	if p.refused {
		n = min(n, 1)
	}
	return min(n, limit-len(p.all), maxOpening)
}

// expect says that somebody will soon keep n sessions busy, and that nobody else will
// want one until he is done. Where the server is far away they are opened behind the
// first one; he who comes is given what there is by then, and waits for the rest.
func (p *pool) expect(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.whole.Store(true)
	p.expected = n
	p.foreseeLocked()
	p.growLocked()
}

// foreseeLocked forgets what is expected when it is there, or will be soon enough.
func (p *pool) foreseeLocked() {
	if len(p.all) >= p.expected || len(p.all) > 0 && (p.far == nil || !p.far()) {
		p.expected = 0
	}
}

// comingLocked is how many sessions will be back in no time. Should they not, we
// look again.
func (p *pool) comingLocked() int {
	if p.coming == nil {
		return 0
	}
	n := p.coming()
	if n > 0 {
		p.againLocked(comingTime)
	}
	return n
}

// againLocked looks again after a time.
func (p *pool) againLocked(after time.Duration) {
	if p.again == nil {
		p.again = time.AfterFunc(after, p.lookAgain)
	}
}

// lookAgain lends and opens sessions for those who waited in vain.
func (p *pool) lookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.again = nil
	if p.closed {
		return
	}
	for len(p.idle) > 0 && slices.ContainsFunc(p.waiting, p.mayLocked) {
		s := p.takeLocked(true)
		p.lendLocked(s)
	}
	p.growLocked()
	p.pressLocked()
	p.reservedLocked()
	p.growLaterLocked()
}

// growLaterLocked looks again when a failure to grow is forgotten.
func (p *pool) growLaterLocked() {
	if wait := time.Until(p.growAfter); wait > 0 {
		p.againLocked(wait)
	}
}

// reservedLocked looks again when a session idles, for others, although somebody
// waits for one.
func (p *pool) reservedLocked() {
	if len(p.idle) > 0 && len(p.waiting) > 0 {
		p.againLocked(max(time.Millisecond, time.Until(p.wantedAt().Add(plainTime))))
	}
}

// grow opens sessions for those who wait, one after another. Without any session
// they depend on the last goroutine that does.
func (p *pool) grow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.opening--; p.pressLocked() }()
	for failures := 0; p.opening <= p.shortLocked(); failures++ {
		data := p.expected > 0 || slices.ContainsFunc(p.waiting, func(b *borrower) bool { return b.data })
		wait := p.turnLocked(time.Now())
		p.mu.Unlock()
		_ = pause(p.ctx, wait) // the end of ctx ends open too
		s, err := p.open(p.ctx, data)
		p.mu.Lock()
		if err == nil {
			if p.closed {
				s.abort()
				return
			}
			failures = -1
			p.openedLocked(s)
			continue
		}
		p.failedLocked(err)
		if p.opening > p.shortLocked() {
			return
		}
		p.mu.Unlock()
		_ = pause(p.ctx, backoff(failures+2)) // the end of ctx is seen above
		p.mu.Lock()
	}
}

// turnLocked says how long to wait before a connection to the server may be made.
func (p *pool) turnLocked(now time.Time) time.Duration {
	if p.turn.Before(now) {
		p.turn = now
	}
	wait := p.turn.Sub(now) - (openBurst-1)*openEvery
	p.turn = p.turn.Add(openEvery)
	return max(0, wait)
}

// openedLocked takes a new session in, which shows that the limit is no lower.
func (p *pool) openedLocked(s *session) {
	p.last, p.spare, p.outage.since = nil, false, time.Time{}
	p.refused = p.refused && time.Now().Before(p.growAfter) // asked for before it was
	p.all[s] = struct{}{}
	p.setLimit(max(int(p.limit.Load()), len(p.all)))
	p.foreseeLocked()
	p.lendLocked(s)
	p.growLocked() // there may be several at a time now
	p.log.Debug("session opened", "sessions", len(p.all))
}

func (p *pool) setLimit(n int) { p.limit.Store(int32(n)) } //nolint:gosec // a few

// failedLocked notes that no session could be opened.
func (p *pool) failedLocked(err error) {
	p.last, p.spare, p.expected = err, false, 0
	if len(p.all) > 0 {
		p.growAfter = time.Now().Add(growAgain)
		switch {
		case errors.Is(err, ErrBusy):
			p.refused = true
			p.setLimit(len(p.all))
		case !retryable(err):
			p.growAfter = time.Now().Add(growRefused)
		}
		p.growLaterLocked()
		p.log.Debug("no further session", "sessions", len(p.all), "err", err)
		return
	}
	now := time.Now()
	p.outage.note(err, now)
	if p.outage.over(now) {
		err = p.outage.final(err, now)
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(b *borrower) bool {
		tell := !retryable(err) || b.impatient && (!errors.Is(err, ErrBusy) || now.After(b.until))
		if tell {
			b.got <- loan{err: err}
		}
		return tell
	})
}
