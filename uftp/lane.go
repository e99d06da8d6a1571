package uftp

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// A lane is a session at work for an engine. It sends many RANG and RETR pairs
// ahead; the server sends their bytes back to back on the data connection, and
// the replies in the same order on the control connection. So a lane has three
// goroutines: the sender, the reader of replies, and the reader of data, which
// reads straight into the callers' buffers.
//
// # Whose bytes they are
//
// Nothing on the data connection says where one range ends and the next begins,
// and where a file is shorter than a range the server just sends less, and calls
// that a success. Bytes are taken for those of a range only
//
//   - when all that was asked for has arrived and nothing more had been asked for
//     at that moment: then the count says that no range was short; or
//   - when a STAT before the range and one behind it show the same version of the
//     file, which is large enough and was not changed just now.
//
// A range of a file that fails this test is asked for alone, with nothing behind
// it. So is one that ends behind the end of its file, as far as known.
//
// # When something is wrong
//
// A refused, failed, short or doubtful range is settled by itself: nothing more
// is sent, what comes before the range is read, the data connection is closed,
// the server answers what is left of the commands, and the ranges behind the bad
// one are queued again, before all others. The session goes on with another data
// connection. Only a session that broke or is out of step is lost.
type lane struct {
	*engine
	ctx    context.Context // of waiting for a session
	cancel context.CancelFunc

	sendCond, replyCond, dataCond sync.Cond

	// The following are guarded by the engine's mutex.
	s        *session // nil while there is none
	conn     net.Conn
	cmds     []byte
	pipe     []*flight // in the order of sending
	unfilled int       // index in pipe of the first flight whose bytes have not all come
	expects  []expect  // replies that will come, in order
	inflight int       // bytes asked for that have not come
	share    int       // of them, most there may be for the others' sake, when a packet was begun
	number   uint64    // of the last flight
	open     segment   // flights behind which there is no STAT yet
	lastLook look      // the last reply to a STAT
	hold     bool      // send nothing until the pipe is empty
	given    int       // bytes sent since the lane got its session
	ready    bool      // it looks for something to send when it is signalled
	yielding bool      // others get the session when the pipe is empty
	ended    bool      // nothing more will be sent in this burst
	tail     bool      // all replies are there, and bytes of the last flight are missing
	armed    time.Time // deadline of conn
	batch    int       // bytes that wake the reader of conn
	moved    time.Time // when bytes came last, or were first asked for
	quiet    time.Time // when the last reply came
	scratch  []byte    // for bytes that nobody wants

	trouble
}

// trouble is what went wrong in a burst.
type trouble struct {
	bad     uint64 // number of the first flight that is not good; 0 if all are
	verdict error  // what the server said about that flight; nil if it is merely doubtful
	clean   bool   // it was refused before anything was sent, and nothing is behind it
	dataErr error  // of the data connection
	err     error  // of the session
}

// flight is a range that was asked for.
type flight struct {
	span
	f      *fetch // nil when it has what it wants, or wants it no more
	path   string
	off    int64
	buf    []byte
	number uint64
	got    int
	before version
	known  bool // before is set

	ranged   bool // RANG was accepted
	answered bool // the last reply to RETR is there
	filled   bool // all bytes are there
	sure     bool // they are the right ones
	looked   bool // the reply to a STAT behind it is there
	reading  bool // the reader of data is at it, with the caller's buffer
	dropped  bool // it must leave the buffer
}

func newLane(e *engine) *lane {
	l := &lane{engine: e}
	l.ctx, l.cancel = context.WithCancel(e.ctx)
	for _, c := range []*sync.Cond{&l.sendCond, &l.replyCond, &l.dataCond} {
		c.L = &e.mu
	}
	return l
}

// live works as long as there is something to do.
func (l *lane) live() {
	defer func() { l.cancel() }()
	for {
		if wait := l.dialer.limit.delay(time.Now()); wait > 0 {
			_ = pause(l.ctx, wait) // the end of ctx is seen below
		}
		s, err := l.pool.acquireBulk(l.ctx, l.extra())
		if err != nil && l.ctx.Err() == nil {
			l.refused(err)
		}
		if err == nil {
			l.use(s)
			l.pool.release(s)
		}
		l.mu.Lock()
		l.s = nil
		if l.yielding {
			l.yielding = false
			l.yields--
		}
		if l.queue.empty() || l.closed || l.index() >= l.wanted() {
			l.quit()
			l.mu.Unlock()
			return
		}
		losses := l.losses
		l.renew()
		l.mu.Unlock()
		if losses > 0 {
			_ = pause(l.ctx, backoff(losses-1)) // the end of ctx is seen above
		}
	}
}

// renew makes the lane able to wait again. The mutex is held.
func (l *lane) renew() {
	if l.ctx.Err() != nil {
		l.ctx, l.cancel = context.WithCancel(l.engine.ctx)
	}
}

// extra reports whether there are other lanes before this one.
func (l *lane) extra() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index() > 0
}

// index returns the place among the lanes, oldest first. The mutex is held.
func (l *lane) index() int { return slices.Index(l.lanes, l) }

// quit takes the lane out. The mutex is held.
func (l *lane) quit() {
	for i, other := range l.lanes {
		if other == l {
			l.lanes = append(l.lanes[:i], l.lanes[i+1:]...)
		}
	}
}

// use works with a session until there is nothing more to do, somebody else
// wants it, or it is lost.
func (l *lane) use(s *session) {
	l.mu.Lock()
	l.s, l.given, l.moved = s, 0, time.Now()
	l.mu.Unlock()
	_ = s.run(context.Background(), func() error { // told to those whom it concerns
		for {
			more, err := l.burst()
			if err != nil || !more {
				return err
			}
		}
	})
	if s.isClosed() { // see coming
		l.mu.Lock()
		defer l.mu.Unlock()
		l.s = nil
	}
}

// burst sends as long as there is something to do. It reports whether there may
// be more to do with the session.
func (l *lane) burst() (more bool, err error) {
	l.mu.Lock()
	l.trouble, l.ended, l.tail, l.hold = trouble{}, false, false, false
	l.ready = true
	cmds := l.take()
	for len(cmds) == 0 && l.lingers() {
		l.sendCond.Wait()
		cmds = l.take()
	}
	l.ready = false
	l.mu.Unlock()
	if len(cmds) == 0 {
		return false, nil
	}
	if !l.s.keepAlive {
		return true, l.single()
	}
	conn, err := l.s.transferPacket(cmds)
	l.mu.Lock()
	l.conn, l.armed, l.batch, l.moved = conn, time.Time{}, 0, time.Now()
	if err != nil {
		l.err = err
	}
	l.mu.Unlock()
	if err == nil {
		var wg sync.WaitGroup
		wg.Go(l.readReplies)
		wg.Go(l.readData)
		l.send()
		wg.Wait()
		l.mu.Lock()
		l.wakeAt(1)
		l.mu.Unlock()
	}
	return true, l.resolve()
}

// send sends while there is something to send and the pipe has room for it.
func (l *lane) send() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = true
	for !l.stopped() {
		waits := l.unfilled == len(l.pipe) // for a round trip
		if cmds := l.take(); len(cmds) > 0 {
			if waits {
				l.s.trips.Add(1)
			}
			l.mu.Unlock()
			err := l.s.ctl.sendAhead(cmds)
			l.mu.Lock()
			if err != nil {
				l.lose(err)
			}
			continue
		}
		if len(l.pipe) == 0 && !l.awaits() && !l.lingers() {
			break
		}
		l.sendCond.Wait()
	}
	l.ready, l.ended = false, true
	l.replyCond.Signal()
	l.dataCond.Signal()
}

// stopped reports whether nothing more may be sent in this burst. Here and below
// the mutex is held.
func (l *lane) stopped() bool {
	return l.bad != 0 || l.err != nil || l.dataErr != nil || l.tail
}

// lose says that the session is lost.
func (l *lane) lose(err error) {
	if l.err == nil {
		l.err = lost(err)
	}
	_ = l.s.ctl.Close()
	_ = l.conn.Close()
	l.wake()
}

func (l *lane) wake() {
	l.sendCond.Signal()
	l.replyCond.Signal()
	l.dataCond.Signal()
}

// spoil says that the flight with that number is not good; nil means doubtful.
func (l *lane) spoil(number uint64, verdict error, clean bool) {
	if l.bad != 0 && l.bad <= number {
		return
	}
	l.bad, l.verdict = number, verdict
	l.clean = clean && len(l.pipe) == 1 && l.pipe[0].got == 0
	l.arm(time.Now()) // the reader of data looks up
	l.wake()
}

// arm sets the deadline of the data connection.
func (l *lane) arm(t time.Time) {
	if l.conn == nil { // see single
		l.s.abort()
		return
	}
	l.armed = t
	l.wakeAt(1)
	_ = l.conn.SetReadDeadline(t) // one that fails will fail in Read too
}

// wakeAt has the reader of data wait for n bytes.
func (l *lane) wakeAt(n int) {
	if n != l.batch {
		l.batch = n
		wakeAt(l.conn, n)
	}
}

// release lets go of f's buffer.
func (l *lane) release(f *fetch) {
	for _, fl := range l.pipe {
		switch {
		case fl.f != f:
		case fl.reading:
			fl.dropped = true
			l.arm(time.Now())
		default:
			l.letGo(fl)
		}
	}
}

// letGo parts a flight from a fetch that failed. What it was to bring is noted
// for the next attempt.
func (l *lane) letGo(fl *flight) {
	f := fl.f
	fl.f, fl.dropped = nil, false
	f.live--
	if fl.alone {
		f.alone = false
	}
	if fl.pos < f.end {
		f.redo = append(f.redo, fl.span)
	}
}

// arrive hands a flight over if everything about it is right.
//
// The last replies need not be there: the range was accepted, and as many bytes
// as it has came with nothing else on its way. The replies are held back by the
// server's kernel until we acknowledge the first one, for a round trip.
func (l *lane) arrive(fl *flight) {
	f := fl.f
	if f == nil || !fl.filled || !fl.sure || !fl.ranged || f.look && !fl.looked {
		return
	}
	fl.f = nil
	f.live--
	if fl.alone {
		f.alone = false
	}
	l.losses = 0
	if f.next < f.end || len(f.redo) > 0 {
		f.since = time.Now()
		l.enqueue(f, true)
	}
	l.finish(f)
}

// counted says that everything that was asked for has arrived: no range can have
// been short.
func (l *lane) counted() {
	l.open = segment{}
	for _, fl := range l.pipe {
		fl.sure = true
		l.arrive(fl)
	}
}

// retire forgets the flights at the front that nothing more is to come of.
func (l *lane) retire() {
	k := 0
	for k < l.unfilled && l.pipe[k].answered && l.pipe[k].sure && l.pipe[k].f == nil {
		*l.pipe[k] = flight{}
		l.flights = append(l.flights, l.pipe[k])
		k++
	}
	if k == 0 {
		return
	}
	l.pipe = l.pipe[:copy(l.pipe, l.pipe[k:])]
	l.unfilled -= k
	l.sendCond.Signal()
}
