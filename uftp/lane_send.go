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
	if l.given > 0 && l.pool.wanted.Load() {
		return nil // after one packet, let others have the session
	}
	now := time.Now()
	l.open.packet = false
	for len(cmds) < maxCommands {
		f := l.candidate(now)
		if f == nil {
			break
		}
		sp := f.span()
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
	}
	l.cmds = cmds
	if len(cmds) > 0 {
		l.replyCond.Signal()
		l.dataCond.Signal()
	}
	return cmds
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
	return l.queue.next(l.inflight < l.window, now)
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
	l.queue.class(f).charge(sp.n)
	if !f.hasMore() {
		l.dequeue(f)
	}
	return cmds
}

// looking reports whether the last command is a STAT of that file.
func (l *lane) looking(path string) bool {
	k := len(l.expects) - 1
	return k >= 0 && l.expects[k].kind == expectLook && l.expects[k].path == path
}

// seal appends a STAT behind the open segment.
func (l *lane) seal(cmds []byte) []byte {
	cmds = appendStat(cmds, l.open.wire)
	l.expects = append(l.expects, expect{kind: expectLook, path: l.open.path, number: l.open.number, seals: true})
	l.open = segment{}
	return cmds
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
