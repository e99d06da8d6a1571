package uftp

import "time"

// A crowd is many small reads at a time. uftpd leaves Nagle's algorithm on: bytes
// that do not fill a segment are sent at once when all that was sent before has
// been acknowledged, and else a round trip later. So where the server is far away,
// each data connection carries a few small ranges in a round trip, and many
// readers wait for one another in a single lane. They get as many lanes as are
// worth it by how many of their reads are under way at a time; one reader alone,
// which waits for each of its reads, never gets a second one. The engine's mutex
// guards it.
type crowd struct {
	now   int       // small reads under way
	began time.Time // of the measurement
	sum   int       // of now, at each read that came since
	reads int       // that came since
	lanes int       // that the last measurement calls for
}

const (
	// eachLane is how many small reads a lane has on its way before another lane
	// is worth it: one on the connection, one held back.
	eachLane = 2
	// leastReads is how many reads say something about how many come at a time.
	leastReads = 8
)

// came notes a small read that begins, and measures.
func (c *crowd) came(now time.Time, trip time.Duration) {
	c.now++
	length := max(measureTime, measureTrips*trip)
	if took := now.Sub(c.began); took >= length {
		c.lanes = 0
		if took < 2*length && c.reads >= leastReads && trip >= pushTrip {
			c.lanes = (c.sum + c.reads*eachLane - 1) / (c.reads * eachLane)
		}
		c.began, c.sum, c.reads = now, 0, 0
	}
	c.sum += c.now
	c.reads++
}

// crowds reports whether f is one of those that make a crowd.
func (f *fetch) crowds() bool { return !f.ahead && len(f.buf) <= smallRead }

// came notes that an attempt at f begins; left that it is over. The mutex is held.
func (e *engine) came(f *fetch) {
	if f.crowds() {
		e.crowd.came(time.Now(), e.dialer.trip.get())
	}
}

func (e *engine) left(f *fetch) {
	if f.crowds() {
		e.crowd.now--
	}
}

// spread is how many lanes small reads are worth, 0 if it is one.
func (e *engine) spread() int {
	if e.crowd.lanes <= 1 || time.Since(e.small) >= smallTime {
		return 0
	}
	return min(e.crowd.lanes, e.pool.most())
}

// burden is how much there is in a lane for a small range to wait behind.
func (l *lane) burden() int { return len(l.pipe) - l.unfilled + l.inflight/smallRead }

// shed reports whether a small range is left to another lane that has less to do,
// which is signalled. A lane that has nothing to do takes it, so it is not left
// lying.
func (l *lane) shed() bool {
	burden := l.burden()
	if burden == 0 || l.spread() == 0 {
		return false
	}
	for _, other := range l.lanes {
		if other.ready && !other.stopped() && !other.hold && !other.yielding && other.burden() < burden {
			other.sendCond.Signal()
			return true
		}
	}
	return false
}
