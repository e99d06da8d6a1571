package uftp

import (
	"errors"
	"io"
	"slices"
	"time"
)

// resolve ends a burst: what did not arrive is settled or queued again. It
// returns an error if the session is lost.
func (l *lane) resolve() error {
	if l.tail {
		if err := l.short(); err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
		}
	}
	blame, path, err := l.culprit()
	if blame != nil && l.err == nil && isRefusal(err) {
		if err = l.s.explain(path, err); !isRefusal(err) {
			l.err = err
		}
	}
	if l.bad != 0 && !l.clean || l.dataErr != nil {
		l.s.dropData()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle(blame, err)
	return l.err
}

// culprit returns the flight that what went wrong is about, with its path, and
// the error it gets; nil if it is about none.
func (l *lane) culprit() (*flight, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, fl := range l.pipe {
		var err error
		switch {
		case l.bad != 0 && l.verdict != nil && fl.number == l.bad:
			err = l.verdict
		case l.err != nil && len(l.expects) > 0 && fl.number == l.expects[0].number,
			l.err != nil && len(l.expects) == 0 && i == l.unfilled:
			err = l.err
		case l.err == nil && l.bad == 0 && l.dataErr != nil && i == l.unfilled:
			err = lost(l.dataErr)
		default:
			continue
		}
		return fl, fl.path, err
	}
	return nil, "", nil
}

// settle empties the pipe. The flight to blame gets the error; the mutex is held.
func (l *lane) settle(blame *flight, err error) {
	if l.err != nil && !outOfStep(l.err) {
		l.losses++
	}
	if blame != nil && blame.f != nil {
		l.fail(blame.f, err)
	}
	doubt := "" // the file whose ranges are asked for alone
	if fl := l.flight(l.bad); fl != nil && l.verdict == nil {
		doubt = fl.path
	}
	for _, fl := range slices.Backward(l.pipe) {
		l.retry(fl, fl.number >= l.bad && fl.path == doubt)
		*fl = flight{}
		l.flights = append(l.flights, fl)
	}
	l.pipe, l.unfilled, l.inflight = l.pipe[:0], 0, 0
	l.expects, l.open = l.expects[:0], segment{}
}

// short settles the last flight in the pipe, of which bytes are missing although
// the server said that it sent them all. Perhaps they are still on their way. If
// the file is shorter than that, or they do not come, we ask for another data
// connection: the server closes the present one first, and what it sent before is
// all there was. An error is the session's.
func (l *lane) short() error {
	l.mu.Lock()
	fl := l.pipe[len(l.pipe)-1]
	end := fl.off + int64(fl.n)
	more := l.lastLook.ok && l.lastLook.path == fl.path && l.lastLook.info.Size >= end
	known := fl.looked
	l.mu.Unlock()
	if !known {
		var err error
		if more, err = l.s.reaches(fl.path, end); err != nil {
			return err
		}
	}
	if more {
		err := l.refill(fl, tailTime)
		if !errors.Is(err, errTail) {
			return l.ends(fl, err)
		}
	}
	old, err := l.s.replaceData()
	defer l.s.drained(old)
	if err != nil {
		return err
	}
	err = l.refill(fl, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return l.ends(fl, err)
}

// refill reads on where the reader of data stopped.
func (l *lane) refill(fl *flight, patience time.Duration) error {
	l.mu.Lock()
	l.moved, l.quiet = time.Now(), time.Now()
	l.mu.Unlock()
	return l.fill(fl, l.conn, patience)
}

// ends says that a flight has all the bytes that it will get, unless err.
func (l *lane) ends(fl *flight, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.dataErr = err
		return nil
	}
	fl.filled = true
	l.unfilled++
	if f := fl.f; f != nil && fl.got < fl.n {
		f.ends(fl.pos + fl.got)
	}
	l.counted()
	return nil
}

// single reads one range on a session that cannot have several on their way.
func (l *lane) single() error {
	l.mu.Lock()
	fl := l.pipe[0]
	if fl.f == nil { // its caller gave up meanwhile, and has the buffer back
		l.settle(nil, nil)
		l.mu.Unlock()
		return nil
	}
	fl.reading, l.conn = true, nil // so that the end of its caller's patience ends the session
	path, want := fl.path, fl.f.look
	l.mu.Unlock()
	n, err := l.s.readAt(path, fl.buf, fl.off)
	after := look{path: path, ok: true}
	if want && (err == nil || isEOF(err)) {
		var lerr error
		if after.info, lerr = l.s.look(path); isRefusal(lerr) {
			after.ok, after.err = false, lerr
		} else if lerr != nil {
			err = lerr
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fl.reading = false
	if fl.dropped {
		f := fl.f
		l.letGo(fl)
		l.finish(f)
	}
	if err != nil && !isEOF(err) {
		if !isRefusal(err) {
			l.err = err
		}
		l.settle(fl, err)
		return l.err
	}
	fl.filled, fl.ranged, fl.looked = true, true, true
	if f := fl.f; f != nil {
		f.looked(after)
		if n < fl.n {
			f.ends(fl.pos + n)
		}
	}
	l.counted()
	l.settle(nil, nil)
	return nil
}
