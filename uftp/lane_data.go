package uftp

import (
	"errors"
	"net"
	"os"
	"time"
)

// errTail means that all replies are there, bytes of the last flight are not, and
// none came for settleTime.
var errTail = errors.New("bytes are missing")

// errStopped means that a flight is not to be read.
var errStopped = errors.New("stopped")

// readData reads the bytes of the flights in turn, until something is wrong.
func (l *lane) readData() {
	for {
		l.mu.Lock()
		for l.unfilled == len(l.pipe) && !l.ended && l.err == nil {
			l.dataCond.Wait()
			l.moved = time.Now()
		}
		if l.unfilled == len(l.pipe) || l.err != nil {
			l.mu.Unlock()
			return
		}
		fl := l.pipe[l.unfilled]
		l.mu.Unlock()
		err := l.fill(fl, l.conn, settleTime)
		l.mu.Lock()
		switch {
		case err == nil:
			l.full(fl)
		case errors.Is(err, errStopped):
		case errors.Is(err, errTail) && l.unfilled == len(l.pipe)-1:
			l.tail = true
		case errors.Is(err, errTail):
			// Several were short, or one and others behind it.
			l.spoil(fl.number, nil, false)
		default:
			l.dataErr = err
			_ = l.s.ctl.SetReadDeadline(time.Now().Add(min(replyGrace, l.s.stall)))
		}
		if err != nil {
			if !errors.Is(err, errTail) && !l.clean {
				_ = l.conn.Close() // which makes the server go on
			}
			l.wake()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// A network brings bytes in many small pieces. maxBatch is how many have to be
// there before the reader of data wakes, or those that a flight lacks if they are
// fewer; for less than minBatch it is not worth saying so.
const minBatch, maxBatch = 64 << 10, 256 << 10

// fill reads the bytes that a flight lacks. When there is nothing else to wait
// for, a silence of patience is errTail, unless patience is 0.
func (l *lane) fill(fl *flight, conn net.Conn, patience time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := false // the time was up before a batch was whole
	for fl.got < fl.n {
		if l.err != nil || l.bad != 0 && fl.number >= l.bad {
			return errStopped
		}
		switch {
		case late:
			l.arm(time.Now().Add(settleTime)) // a part of the batch may be there
		default:
			if err := l.patient(patience); err != nil {
				return err
			}
			l.wakeAt(l.batchOf(fl))
		}
		buf, batch := l.target(fl), l.batch
		fl.reading = fl.f != nil
		l.mu.Unlock()
		n, err := conn.Read(buf)
		l.mu.Lock()
		fl.reading = false
		if n > 0 {
			fl.got += n
			l.moved = time.Now()
			l.s.progress.Add(int64(n))
			l.s.received.Add(int64(n))
			l.measure(n)
		}
		if f := fl.f; fl.dropped {
			l.letGo(fl)
			l.finish(f)
		}
		late = errors.Is(err, os.ErrDeadlineExceeded) && batch > 1
		if err != nil && fl.got < fl.n && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// batchOf is how many bytes of a flight to wait for.
func (l *lane) batchOf(fl *flight) int {
	left := fl.n - fl.got
	if left < minBatch || !l.awaits() {
		return 1
	}
	return min(left, maxBatch)
}

// patient sets the deadline of the next read, and fails if it has passed.
func (l *lane) patient(patience time.Duration) error {
	now := time.Now()
	if !l.awaits() && patience > 0 {
		since := l.moved
		if l.quiet.After(since) {
			since = l.quiet
		}
		if !now.Before(since.Add(patience)) {
			return errTail
		}
		l.arm(since.Add(patience))
		return nil
	}
	if !now.Before(l.moved.Add(l.s.stall)) {
		return os.ErrDeadlineExceeded
	}
	if l.armed.Before(now.Add(l.s.stall / 2)) { // setting it for each read takes time
		l.arm(l.moved.Add(l.s.stall))
	}
	return nil
}

// scratchSize is how much is read at once that nobody wants.
const scratchSize = 128 << 10

// target returns where the next bytes of a flight go.
func (l *lane) target(fl *flight) []byte {
	if fl.f != nil {
		return fl.buf[fl.got:]
	}
	if l.scratch == nil {
		l.scratch = make([]byte, scratchSize)
	}
	return l.scratch[:min(scratchSize, fl.n-fl.got)]
}

// full says that all bytes of a flight are there.
func (l *lane) full(fl *flight) {
	fl.filled = true
	l.unfilled++
	l.inflight -= fl.n
	if l.unfilled == len(l.pipe) {
		l.counted()
	} else {
		if fl.n <= smallRead {
			quickAck(l.conn) // the server's kernel may hold the next range back until then
		}
		l.arrive(fl)
	}
	l.retire()
	l.sendCond.Signal()
}
