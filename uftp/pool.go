package uftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errClosed = errors.New("client closed")

// pool lends sessions. It opens them when somebody waits for one, a few at a time
// (pool_grow.go); serves those who wait in their order; and closes what was idle
// for long. The server's limit of sessions is per user over all clients, so a
// pool that holds a session lives with what it has when it may not have more, and
// one that holds none keeps trying, until that is in vain for too long
// (pool_outage.go).
//
// The mutex is never held across the network.
type pool struct {
	// open opens a session, with a data connection if that is of use: several at
	// a time, but one while there is none.
	open   func(ctx context.Context, data bool) (*session, error)
	max    int
	idling time.Duration
	log    *slog.Logger

	ctx    context.Context // of the pool's goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// wanted counts those who wait and whom only a session given back helps.
	wanted  atomic.Int32
	pressed func() // called, with the mutex held, when they become more; or nil
	// coming says how many sessions that are lent will be back in no time; or nil.
	coming func() int
	// far says that the server is, so that opening a session takes long; or nil.
	far func() bool

	// The following are changed with the mutex held.
	limit atomic.Int32 // what the server allows, as far as we know; at most max
	plain atomic.Int64 // when one who does not move much wanted a session last, in nanoseconds
	whole atomic.Bool  // until those who move much are done, nobody else will want one; see expect

	mu        sync.Mutex
	idle      []*session            // used last at the end
	all       map[*session]struct{} // idle or lent
	growAfter time.Time             // when a limit or a failure to grow is forgotten
	waiting   []*borrower
	bulk      int         // sessions lent to those who move much
	opening   int         // goroutines that open sessions
	expected  int         // sessions there should be when those who move much come; 0 if nobody knows
	turn      time.Time   // of the next one that opens one, but for openBurst
	spare     bool        // one session, which questions cost its data connection: two would not get in each other's way
	refused   bool        // the last one was not opened for the server's limit: ask for one at a time
	sweeping  bool        // the goroutine that closes idle ones runs
	again     *time.Timer // looks whether to open one, later; or nil
	last      error
	outage    outage
	closed    bool
}

// borrower waits for a session.
type borrower struct {
	got       chan loan // buffered: whoever answers does not wait
	data      bool      // wants a session with a data connection, if there is one
	bulk      bool      // moves much: leaves a session to the others
	extra     bool      // has other sessions: nobody needs to hurry for it
	impatient bool      // wants to know the first failure, or after a while that the server is busy
	until     time.Time // when an impatient borrower no longer waits for a busy server
}

type loan struct {
	s   *session
	err error
}

func newPool(open func(context.Context, bool) (*session, error), maxSessions int, idling time.Duration, log *slog.Logger) *pool {
	p := &pool{open: open, max: maxSessions, all: make(map[*session]struct{}), idling: idling, log: log}
	p.setLimit(maxSessions)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// acquire lends a session, one with a data connection if data and there is one.
// It waits until ctx ends; with patience it fails at once when no session is
// held and none can be opened, and after that time if only because the server is
// busy.
func (p *pool) acquire(ctx context.Context, data bool, patience time.Duration) (*session, error) {
	return p.borrow(ctx, &borrower{got: make(chan loan, 1), data: data, impatient: patience > 0, until: time.Now().Add(patience)})
}

// acquireBulk lends a session to one who will keep it busy. It leaves one to the
// others, if there may be several and somebody else wanted one lately. One who
// has others already is served when nobody else waits.
func (p *pool) acquireBulk(ctx context.Context, extra bool) (*session, error) {
	return p.borrow(ctx, &borrower{got: make(chan loan, 1), data: true, bulk: true, extra: extra})
}

// spareOne lends an idle session, nil if there is none.
func (p *pool) spareOne() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && len(p.idle) > 0 {
		s := p.takeLocked(true)
		if s.alive() {
			return s
		}
		s.abort()
		delete(p.all, s)
	}
	return nil
}

// acquireSpare lends a session to one who has one already, and is quicker with
// another.
func (p *pool) acquireSpare(ctx context.Context) (*session, error) {
	return p.borrow(ctx, &borrower{got: make(chan loan, 1), data: true, extra: true})
}

// plainTime is how long after somebody else wanted a session one is left free by
// those who move much.
const plainTime = 500 * time.Millisecond

// sessions is how many the server allows, as far as we know.
func (p *pool) sessions() int { return int(p.limit.Load()) }

// most is how many sessions may be lent to those who move much.
func (p *pool) most() int {
	most := p.sessions()
	if !p.whole.Load() && time.Since(p.wantedAt()) < plainTime {
		most--
	}
	return max(1, most)
}

// wantedAt is when one who does not move much wanted a session last.
func (p *pool) wantedAt() time.Time { return time.Unix(0, p.plain.Load()) }

// mayLocked reports whether b may have a session if there is one.
func (p *pool) mayLocked(b *borrower) bool { return !b.bulk || p.bulk < p.most() }

func (p *pool) borrow(ctx context.Context, b *borrower) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if !b.bulk {
		p.plain.Store(time.Now().UnixNano())
	}
	for !p.closed && len(p.idle) > 0 && p.mayLocked(b) {
		s := p.takeLocked(b.data)
		if s.alive() {
			p.lentLocked(s, b)
			p.mu.Unlock()
			return s, nil
		}
		s.abort()
		delete(p.all, s)
	}
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if !b.impatient {
		if err := p.outageLocked(time.Now()); err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
	p.waiting = append(p.waiting, b)
	p.growLocked()
	p.pressLocked()
	p.reservedLocked()
	p.mu.Unlock()

	select {
	case l := <-b.got:
		return l.s, l.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, b); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.pressLocked()
	last := p.reasonLocked()
	p.mu.Unlock()
	select {
	case l := <-b.got:
		return l.s, l.err // it came at the last moment: let the caller's context decide
	default:
	}
	if last == nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w (%w)", last, ctx.Err())
}

// reason says why those who wait do; nil if that is not known.
func (p *pool) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reasonLocked()
}

func (p *pool) reasonLocked() error {
	if n := len(p.all); n > 0 {
		// Not ErrBusy: we have sessions. They do not come back in time.
		return fmt.Errorf("%w: all %d sessions are in use", ErrUnavailable, n)
	}
	return p.last
}

// pressLocked keeps wanted up to date.
func (p *pool) pressLocked() {
	n := -int32(p.opening) //nolint:gosec // a few
	for _, b := range p.waiting {
		if !b.extra {
			n++
		}
	}
	n = max(n, 0)
	if p.wanted.Swap(n) < n && p.pressed != nil {
		p.pressed()
	}
}

// takeLocked takes an idle session, used lately, with or without a data
// connection as asked if there is one.
func (p *pool) takeLocked(data bool) *session {
	i := len(p.idle) - 1
	for k := i; k >= 0; k-- {
		if p.idle[k].hasData() == data {
			i = k
			break
		}
	}
	s := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	return s
}

// release takes a session back.
func (p *pool) release(s *session) {
	p.mu.Lock()
	if s.bulk {
		p.bulk--
		s.bulk = false
		if p.bulk == 0 {
			p.whole.Store(false)
		}
	}
	gone := p.closed || s.isClosed()
	if gone {
		delete(p.all, s)
		p.growLocked()
		p.pressLocked()
	} else {
		robbed := s.robbed
		s.robbed = false
		p.lendLocked(s) // somebody else's from now on
		if robbed && len(p.all) == 1 {
			p.spare = true
			p.growLocked()
		}
	}
	p.mu.Unlock()
	if gone {
		s.close()
	}
}

// lendLocked gives s to whoever waits longest, or lets it idle.
func (p *pool) lendLocked(s *session) {
	i := slices.IndexFunc(p.waiting, func(b *borrower) bool { return !b.extra && p.mayLocked(b) })
	if i < 0 {
		i = slices.IndexFunc(p.waiting, p.mayLocked)
	}
	if i >= 0 {
		b := p.waiting[i]
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.lentLocked(s, b)
		p.pressLocked()
		b.got <- loan{s: s}
		return
	}
	s.idleSince = time.Now()
	p.idle = append(p.idle, s)
	p.reservedLocked()
	if !p.sweeping {
		p.sweeping = true
		p.wg.Go(p.sweep)
	}
}

// lentLocked notes that s is lent to b.
func (p *pool) lentLocked(s *session, b *borrower) {
	if s.bulk = b.bulk; s.bulk {
		p.bulk++
	}
}

// sweep closes sessions that were idle for long, and ends with the last one.
// Sessions in use keep the one-time password alive; when all are gone it dies,
// and the next session begins with another authentication.
func (p *pool) sweep() {
	for {
		now := time.Now()
		next := p.idling
		var old []*session
		p.mu.Lock()
		p.idle = slices.DeleteFunc(p.idle, func(s *session) bool {
			left := s.idleSince.Add(p.idling).Sub(now)
			if left > 0 && !p.closed {
				next = min(next, left)
				return false
			}
			old = append(old, s)
			delete(p.all, s)
			return true
		})
		done := len(p.all) == 0 || p.closed
		p.sweeping = !done
		p.mu.Unlock()
		for _, s := range old {
			s.close()
		}
		if len(old) > 0 {
			p.log.Debug("idle sessions closed", "count", len(old))
		}
		if done {
			return
		}
		_ = pause(p.ctx, next) // the end of ctx is seen above
	}
}

// close closes all sessions, which ends the operations that use them, and waits
// for the pool's goroutines.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	for _, s := range idle {
		delete(p.all, s)
	}
	lent := slices.Collect(maps.Keys(p.all))
	for _, b := range p.waiting {
		b.got <- loan{err: errClosed}
	}
	p.waiting = nil
	p.pressLocked()
	p.mu.Unlock()
	p.cancel()
	for _, s := range idle {
		s.close()
	}
	for _, s := range lent {
		s.abort() // release forgets it
	}
	p.wg.Wait()
}

// empty reports whether no session is held.
func (p *pool) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all) == 0
}

// snapshot returns how many sessions there are, and how many of them idle.
func (p *pool) snapshot() (total, idle, limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all), len(p.idle), int(p.limit.Load())
}
