package uftp

import (
	"strconv"
	"time"
)

const (
	// maxFlights bounds the ranges on their way in a lane.
	maxFlights = 256
	// maxCommands bounds the bytes of one packet of commands, roughly.
	maxCommands = 8 << 10
)

// segment is the flights behind the last STAT, all of one file.
type segment struct {
	path, wire string
	number     uint64 // of its last flight; 0 if there is none
	packet     bool   // it is of the packet that is being written
	look       bool   // somebody wants to know what the file is
}

// take moves what may be sent now from the queue to the pipe, and returns the
// commands for it.
func (l *lane) take() []byte {
	cmds := l.cmds[:0]
	now := time.Now()
	if l.leaves() {
		return nil
	}
	l.open.packet = false
	waits := false // somebody, for what is sent
	l.share = l.engine.share()
	for len(cmds) < maxCommands {
		f := l.candidate(now)
		if f == nil {
			break
		}
		if wait := l.s.limit.delay(now); wait > 0 {
			l.tuner.dry = true // more sessions would not help
			time.AfterFunc(wait, l.again)
			break
		}
		waits = waits || !f.ahead
		sp := f.span(l.s.limit.piece(maxRange))
		seen := l.dialer.seen.look(f.path)
		if !seen.trusted(f.off+int64(sp.pos+sp.n), now) {
			// What is not known is asked for before; what is known to be in doubt is alone.
			sp.alone = sp.alone || seen.known || now.Before(seen.restless)
		}
		if sp.alone && len(l.pipe) > 0 {
			break
		}
		cmds = l.command(cmds, f, sp, seen)
		if sp.alone || !l.s.keepAlive {
			l.hold = true
			break
		}
	}
	if l.open.packet && l.open.look {
		cmds = l.seal(cmds)
		if waits {
			cmds = l.push(cmds)
		}
	}
	l.cmds = cmds
	if len(cmds) > 0 {
		l.replyCond.Signal()
		l.dataCond.Signal()
	}
	return cmds
}

// again looks for something to send.
func (l *lane) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sendCond.Signal()
}

// candidate returns the fetch to send something of, if that may be done now.
func (l *lane) candidate(now time.Time) *fetch {
	if len(l.pipe) == 0 {
		l.hold = false
	}
	switch {
	case l.hold, len(l.pipe) >= maxFlights, l.closed:
		return nil
	}
	index, room := l.index(), l.inflight < min(l.tuner.window, l.share)
	if index == 0 && len(l.lanes) > 1 && now.Sub(l.small) < smallTime && l.lanes[1].s != nil {
		if l.shed() {
			return nil
		}
		return l.queue.small.head() // this lane is for those who would wait behind bulk
	}
	f := l.queue.next(room, now)
	if f != nil && l.queue.class(f) == &l.queue.small && l.shed() {
		return nil
	}
	switch {
	case f == nil && l.inflight < l.tuner.window/2:
		l.tuner.dry = true
	case f == nil && !room && !l.queue.empty():
		for len(l.lanes) < l.wanted() {
			l.addLane()
		}
	}
	return f
}

// leastShare is what a lane may always have on its way.
const leastShare = 2 * maxRange

// share is how much of what there is to read is one lane's: its window may hold
// more, but then the others had nothing to do, and a reader of one file got it at
// the pace of one connection.
func (e *engine) share() int {
	bytes, lanes := 0, 0
	e.queue.all(func(f *fetch) { bytes += f.unsent() })
	for _, l := range e.lanes {
		bytes += l.inflight
		if l.s != nil {
			lanes++
		}
	}
	return max(leastShare, bytes/max(1, lanes))
}

// wanted is how many lanes there should be.
func (e *engine) wanted() int {
	n := max(1, e.tuner.lanes, e.spread())
	if n == 1 && time.Since(e.small) < smallTime && e.pool.most() > 1 {
		return 2
	}
	return n
}

// mostLanes is how many lanes there may be: over a long way the last one waits
// until nobody else wanted a session for a while.
func (e *engine) mostLanes(trip time.Duration) int {
	if trip >= longWay {
		return e.pool.sessions()
	}
	return e.pool.most()
}

// measure says that n bytes came. Lanes that are no longer wanted stop waiting
// for a session.
func (l *lane) measure(n int) {
	trip := l.dialer.way()
	l.tuner.arrived(n, l.moved, l.mostLanes(trip), l.active(), trip)
	l.giveUp(l.wanted())
}

// smallTime is how long after a small read a lane is kept for others.
const smallTime = 2 * time.Second

// leaves reports whether the lane gives up its session when the pipe is empty:
// after one packet if others wait for it, or because it does not pay.
func (l *lane) leaves() bool {
	if l.yielding || l.index() >= l.wanted() {
		return true
	}
	if l.given > 0 && int(l.pool.wanted.Load()) > l.yields {
		l.yielding = true
		l.yields++
	}
	return l.yielding
}

// active counts the lanes with a session.
func (e *engine) active() int {
	n := 0
	for _, l := range e.lanes {
		if l.s != nil {
			n++
		}
	}
	return n
}

// command puts a flight into the pipe, and its commands behind cmds.
func (l *lane) command(cmds []byte, f *fetch, sp span, seen sighting) []byte {
	if l.open.number != 0 && (!l.open.packet || l.open.path != f.path) {
		cmds = l.seal(cmds)
	}
	l.number++
	fl := l.newFlight()
	*fl = flight{span: sp, f: f, path: f.path, off: f.off + int64(sp.pos), buf: f.buf[sp.pos : sp.pos+sp.n], number: l.number, before: seen.version, known: seen.known}
	l.pipe = append(l.pipe, fl)
	l.inflight += sp.n
	l.given += sp.n
	if !seen.known && !sp.alone && l.open.number == 0 && !l.looking(f.path) {
		cmds = appendStat(cmds, f.wire)
		l.expects = append(l.expects, expect{kind: expectLook, path: f.path, number: l.number})
	}
	cmds = l.s.appendRange(cmds, fl.off, int64(sp.n))
	cmds = append(append(append(cmds, "RETR "...), f.wire...), "\r\n"...)
	l.expects = append(l.expects, expect{kind: expectRange, number: l.number}, expect{kind: expectData, number: l.number})
	l.open = segment{path: f.path, wire: f.wire, number: l.number, packet: true, look: l.open.look || f.look}
	f.taken(sp)
	l.s.limit.pass(sp.n, time.Now())
	l.queue.class(f).charge(sp.n)
	if !f.hasMore() {
		l.dequeue(f)
	}
	return cmds
}

// looking reports whether the last command is a STAT of that file.
func (l *lane) looking(path string) bool {
	k := len(l.expects) - 1
	for k >= 0 && l.expects[k].kind == expectPush {
		k--
	}
	return k >= 0 && l.expects[k].kind == expectLook && l.expects[k].path == path
}

// seal appends a STAT behind the open segment.
func (l *lane) seal(cmds []byte) []byte {
	cmds = appendStat(cmds, l.open.wire)
	l.expects = append(l.expects, expect{kind: expectLook, path: l.open.path, number: l.open.number, seals: true})
	l.open = segment{}
	return cmds
}

// push appends a push, behind a STAT that somebody waits for.
func (l *lane) push(cmds []byte) []byte {
	more, replies := l.s.ctl.push()
	for range replies {
		l.expects = append(l.expects, expect{kind: expectPush, number: l.number})
	}
	return append(cmds, more...)
}

func appendStat(cmds []byte, wire string) []byte {
	return append(append(append(cmds, "STAT F "...), wire...), "\r\n"...)
}

// appendRange appends the RANG command for n > 0 bytes at off.
func (s *session) appendRange(cmds []byte, off, n int64) []byte {
	end := off + n
	if s.rfcRang || s.inclusive.Load() {
		end--
	}
	cmds = strconv.AppendInt(append(cmds, "RANG "...), off, 10)
	cmds = strconv.AppendInt(append(cmds, ' '), end, 10)
	return append(cmds, "\r\n"...)
}
