package uftp

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// expect is a reply that will come.
type expect struct {
	kind   expectation
	path   string // of a STAT
	number uint64 // of the flight it belongs to, or of the last one a STAT is behind
	seals  bool   // the STAT is behind that flight, not before
	begun  bool   // RETR: 150 has come
}

type expectation uint8

const (
	expectRange expectation = iota // to RANG
	expectData                     // to RETR: two, or a refusal
	expectLook                     // to STAT
	expectPush                     // to a line of a push
)

// look is what a reply to STAT said.
type look struct {
	path string
	info Info
	ok   bool
	err  error // if refused
}

// readReplies reads the replies to all that was sent.
func (l *lane) readReplies() {
	for {
		l.mu.Lock()
		for !l.awaits() && !l.ended && l.err == nil {
			l.replyCond.Wait()
		}
		if !l.awaits() || l.err != nil {
			if l.err == nil { // whoever has the session next reads what is left of a push
				l.s.ctl.later, l.expects = len(l.expects), l.expects[:0]
			}
			l.mu.Unlock()
			return
		}
		kind := l.expects[0].kind
		l.mu.Unlock()
		var info Info
		code, text, err := l.s.ctl.readBrief()
		if err == nil && kind == expectLook && code == 211 {
			info, err = l.s.ctl.readLook(text)
		}
		l.mu.Lock()
		if err == nil {
			err = l.answer(code, text, info)
		}
		if err != nil {
			l.lose(err)
		}
		l.mu.Unlock()
	}
}

// The following are called with the mutex held.

// awaits reports whether there are replies to come that say something.
func (l *lane) awaits() bool {
	return slices.ContainsFunc(l.expects, func(x expect) bool { return x.kind != expectPush })
}

// answer takes note of a reply. An error means that the session is out of step.
func (l *lane) answer(code int, text []byte, info Info) error {
	x := &l.expects[0]
	fl := l.flight(x.number)
	switch x.kind {
	case expectPush:
		l.s.ctl.took(strconv.AppendInt(nil, int64(code), 10))
	case expectLook:
		k := look{path: x.path, info: info, ok: code == 211}
		switch {
		case code >= 400:
			k.err = refuse(code, string(text))
		case !k.ok:
			return fmt.Errorf("%w: unexpected reply %d %.200q", ErrProtocol, code, text)
		}
		l.saw(*x, k)
	case expectRange:
		if code != 350 {
			return fmt.Errorf("%w: range refused (%d: %.200s)", ErrProtocol, code, text)
		}
		fl.ranged = true
		if !fl.known && l.lastLook.ok && l.lastLook.path == fl.path {
			fl.before, fl.known = versionOf(l.lastLook.info), true
		}
		l.arrive(fl)
	case expectData:
		more, err := l.answerData(x, fl, code, text)
		if more || err != nil {
			return err
		}
	}
	l.expects = l.expects[:copy(l.expects, l.expects[1:])]
	l.retire()
	if !l.awaits() {
		l.quiet = time.Now()
		l.sendCond.Signal()
		if l.unfilled < len(l.pipe) && !l.stopped() {
			l.arm(l.quiet.Add(settleTime)) // what is missing comes now, or never
		}
	}
	return nil
}

// answerData takes note of a reply to RETR. There is more to come after a 150.
func (l *lane) answerData(x *expect, fl *flight, code int, text []byte) (more bool, err error) {
	switch {
	case code == 150 && !x.begun:
		x.begun = true
		if n, ok := parseAvailable(string(text)); ok && n != int64(fl.n) {
			return true, l.s.miscounted(n, int64(fl.n))
		}
		return true, nil
	case code == 226 && x.begun:
	case code >= 400:
		l.spoil(x.number, refuse(code, string(text)), !x.begun)
	default:
		return false, fmt.Errorf("%w: unexpected reply %d %.200q", ErrProtocol, code, text)
	}
	fl.answered = true
	return false, nil
}

// flight returns the flight with that number, which is in the pipe.
func (l *lane) flight(number uint64) *flight {
	if len(l.pipe) > 0 {
		if i := number - l.pipe[0].number; i < uint64(len(l.pipe)) {
			return l.pipe[i]
		}
	}
	return nil
}

// saw takes note of what a file is, and judges the flights before.
func (l *lane) saw(x expect, k look) {
	l.lastLook = k
	v := versionOf(k.info)
	if k.ok {
		l.dialer.seen.note(k.path, v)
	}
	if !x.seals {
		return
	}
	now := time.Now()
	for _, fl := range l.pipe {
		if fl.number > x.number || l.bad != 0 && fl.number >= l.bad {
			break
		}
		if fl.looked || fl.path != k.path {
			continue
		}
		fl.looked = true
		if fl.f != nil && fl.f.look {
			fl.f.looked(k)
		}
		switch {
		case fl.sure:
		case k.ok && fl.known && fl.before == v && fl.off+int64(fl.n) <= v.size && !v.racy(now):
			fl.sure = true
		case l.pipe[len(l.pipe)-1].number > x.number:
			// Others were sent behind it: its bytes may be theirs.
			l.dialer.seen.changing(fl.path)
			l.spoil(fl.number, nil, false)
			return
		default:
			l.hold = true // the count will tell
		}
		l.arrive(fl)
	}
}

// readBrief reads the first line of a reply. The text is valid until the next
// read.
func (c *control) readBrief() (code int, text []byte, err error) {
	line, err := c.readBytes()
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 4 || line[3] == '-' {
		return c.readLong(line)
	}
	for _, d := range line[:3] {
		if d < '0' || d > '9' {
			return c.readLong(line)
		}
		code = 10*code + int(d-'0')
	}
	if line[3] != ' ' || code < 100 || code > 599 || code == codeGoing {
		return c.readLong(line)
	}
	return code, line[4:], nil
}

// readLong reads the rest of an unusual reply. That of a STAT is left to
// readLook.
func (c *control) readLong(line []byte) (int, []byte, error) {
	if bytes.HasPrefix(line, []byte("211-")) {
		return 211, line[4:], nil
	}
	r, err := c.restOfReply(string(line))
	return r.code, []byte(r.text), err
}

// readLook reads what follows the first line of a STAT's reply.
func (c *control) readLook(first []byte) (Info, error) {
	line, err := c.readBytes()
	if err != nil {
		return Info{}, err
	}
	i, ok := parseStatLine(string(line))
	if ok {
		if line, err = c.readBytes(); err != nil {
			return Info{}, err
		}
		ok = bytes.HasPrefix(line, []byte("211 "))
	}
	if !ok {
		return Info{}, fmt.Errorf("%w: not a STAT reply: %.200q %.200q", ErrProtocol, first, line)
	}
	return i, nil
}
