package uftptest

import (
	"io"
	"os"
	"sync"
	"time"
)

// A delayLine is a queue whose bytes can be read only when they are due.
type delayLine struct {
	link     Link
	capacity int

	mu       sync.Mutex
	cond     sync.Cond
	pullTime *time.Timer // wakes the reader
	pushTime *time.Timer // wakes the writer
	segments []segment
	held     int       // bytes in segments
	free     time.Time // when the link is free for the next byte
	ended    error     // nothing more comes in; told after the last segment
	endDue   time.Time // when the end is due
	stopped  error     // nothing goes in or out
	released bool

	readDeadline, writeDeadline time.Time
}

type segment struct {
	data []byte
	due  time.Time
}

func newDelayLine(l Link, start time.Time) *delayLine {
	d := &delayLine{link: l, capacity: l.buffer(), free: start}
	d.cond.L = &d.mu
	d.pullTime = stoppedTimer(d.wake)
	d.pushTime = stoppedTimer(d.wake)
	return d
}

// wake wakes all who wait. It takes the lock, or the wake-up of a timer that is
// due at once could come between its setting and the wait, and be lost.
func (d *delayLine) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cond.Broadcast()
}

func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// push puts a copy of p into the line and returns how much of it went in. It
// blocks while the line is full.
func (d *delayLine) push(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pushed := 0
	for len(p) > 0 {
		switch {
		case d.stopped != nil:
			return pushed, d.stopped
		case d.ended != nil:
			return pushed, io.ErrClosedPipe
		case expired(d.writeDeadline):
			return pushed, os.ErrDeadlineExceeded
		case d.held >= d.capacity:
			d.sleep(d.pushTime, d.writeDeadline)
			continue
		}
		n := len(p)
		if d.link.Bandwidth > 0 {
			n = min(n, segmentSize)
		}
		if now := time.Now(); d.free.Before(now) {
			d.free = now
		}
		if d.link.Bandwidth > 0 {
			d.free = d.free.Add(time.Duration(float64(n) / float64(d.link.Bandwidth) * float64(time.Second)))
		}
		d.segments = append(d.segments, segment{append([]byte(nil), p[:n]...), d.free.Add(d.link.Delay)})
		d.held += n
		pushed += n
		p = p[n:]
		d.cond.Broadcast()
	}
	return pushed, nil
}

// next removes the first segment when it is due.
func (d *delayLine) next() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return nil, err
	}
	p := d.segments[0].data
	d.take(len(p))
	return p, nil
}

// Read implements [io.Reader] over the bytes that are due.
func (d *delayLine) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return 0, err
	}
	n := copy(p, d.segments[0].data)
	d.take(n)
	return n, nil
}

// ready waits until the first segment is due.
func (d *delayLine) ready() error {
	for {
		switch {
		case d.stopped != nil:
			return d.stopped
		case expired(d.readDeadline):
			return os.ErrDeadlineExceeded
		case len(d.segments) > 0:
			if due := d.segments[0].due; time.Now().Before(due) {
				d.sleep(d.pullTime, due, d.readDeadline)
				continue
			}
			return nil
		case d.ended != nil:
			if time.Now().Before(d.endDue) {
				d.sleep(d.pullTime, d.endDue, d.readDeadline)
				continue
			}
			return d.ended
		}
		d.sleep(d.pullTime, d.readDeadline)
	}
}

// take removes n bytes of the first segment.
func (d *delayLine) take(n int) {
	s := &d.segments[0]
	if s.data = s.data[n:]; len(s.data) == 0 {
		s.data = nil
		d.segments = d.segments[1:]
	}
	d.held -= n
	d.cond.Broadcast()
}

// sleep waits for a change, or for the earliest of the moments that are not zero.
func (d *delayLine) sleep(timer *time.Timer, moments ...time.Time) {
	var until time.Time
	for _, m := range moments {
		if !m.IsZero() && (until.IsZero() || m.Before(until)) {
			until = m
		}
	}
	if !until.IsZero() {
		timer.Reset(time.Until(until))
	}
	d.cond.Wait()
}

// end says that nothing more comes in, for the reason err.
func (d *delayLine) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended == nil {
		d.ended = err
		d.endDue = time.Now().Add(d.link.Delay)
		if last := d.free.Add(d.link.Delay); last.After(d.endDue) {
			d.endDue = last
		}
	}
	d.cond.Broadcast()
}

// stop drops what is in the line.
func (d *delayLine) stop(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped == nil {
		d.stopped = err
		d.segments = nil
		d.held = 0
	}
	d.cond.Broadcast()
}

// release ends awaitRelease.
func (d *delayLine) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = true
	d.cond.Broadcast()
}

// awaitRelease blocks until release or stop.
func (d *delayLine) awaitRelease() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.released && d.stopped == nil {
		d.cond.Wait()
	}
}

func (d *delayLine) setReadDeadline(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readDeadline = t
	d.cond.Broadcast()
}

func (d *delayLine) setWriteDeadline(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writeDeadline = t
	d.cond.Broadcast()
}

func expired(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}
