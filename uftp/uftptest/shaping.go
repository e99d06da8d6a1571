package uftptest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Link is a network between client and server. The zero value is the one that
// is there anyway.
type Link struct {
	// Delay is the time a byte takes one way. Half of the round trip; a new
	// connection costs a round trip before its first byte, as TCP's handshake does.
	Delay time.Duration
	// Bandwidth limits each direction of each connection, in bytes per second;
	// 0 means unlimited.
	Bandwidth int64
}

const (
	// sendBuffer is what a sender may be ahead of the link: its socket buffer.
	sendBuffer = 4 << 20
	// fatPipe is the same for a link of unlimited bandwidth, which holds
	// whatever is sent within the delay.
	fatPipe = 64 << 20
	// segmentSize bounds a chunk on a link with limited bandwidth, so that bytes
	// arrive as steadily as packets do.
	segmentSize = 16 << 10
	// shapeChunk is the size of reads from the socket below.
	shapeChunk = 256 << 10
)

// buffer is the number of bytes that can be on their way, one way.
func (l Link) buffer() int {
	if l.Bandwidth <= 0 {
		return fatPipe
	}
	return sendBuffer + int(float64(l.Bandwidth)*2*l.Delay.Seconds())
}

// A shaper puts links into connections, and owns the goroutines they need.
type shaper struct {
	link func() Link // asked for each new connection

	mu     sync.Mutex
	conns  map[*shapedConn]struct{}
	closed bool
	wg     sync.WaitGroup
}

func newShaper(link func() Link) *shaper {
	return &shaper{link: link, conns: make(map[*shapedConn]struct{})}
}

// wrap returns c behind the link of the moment.
func (s *shaper) wrap(c net.Conn) net.Conn {
	l := s.link()
	if l == (Link{}) {
		return c
	}
	// The client's connect took no time, so its first bytes are early by the
	// round trip that TCP's handshake takes; ours follow the third packet of it.
	now := time.Now()
	sc := &shapedConn{
		Conn: c,
		in:   newDelayLine(l, now.Add(2*l.Delay)),
		out:  newDelayLine(l, now.Add(3*l.Delay)),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return c
	}
	s.conns[sc] = struct{}{}
	s.wg.Go(sc.receive)
	s.wg.Go(func() {
		sc.send()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, sc)
	})
	return sc
}

// listener wraps the connections that ln accepts.
func (s *shaper) listener(ln net.Listener) net.Listener { return shapedListener{ln, s} }

// close drops all connections with what is on its way in them.
func (s *shaper) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

type shapedListener struct {
	net.Listener
	shaper *shaper
}

func (l shapedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.shaper.wrap(c), nil
}

// A shapedConn is a connection with a delay line in each direction. Like a
// socket it sends what it holds after Close; abort does not.
type shapedConn struct {
	net.Conn
	in, out *delayLine
}

// receive moves bytes from the socket into the incoming line.
func (c *shapedConn) receive() {
	buf := make([]byte, shapeChunk)
	for {
		n, err := c.Conn.Read(buf)
		if n > 0 {
			if _, err := c.in.push(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			c.in.end(err)
			return
		}
	}
}

// send moves bytes from the outgoing line to the socket, and closes the socket
// when Close or CloseWrite have been called and everything is out.
func (c *shapedConn) send() {
	defer c.in.stop(net.ErrClosed)
	defer func() { _ = c.Conn.Close() }()
	for {
		p, err := c.out.next()
		if err == io.EOF {
			closeWrite(c.Conn)
			c.out.awaitRelease()
		}
		if err != nil {
			return
		}
		if _, err := c.Conn.Write(p); err != nil {
			c.out.stop(err)
			c.in.end(err)
			return
		}
	}
}

func (c *shapedConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *shapedConn) Write(p []byte) (int, error) { return c.out.push(p) }

// CloseWrite and CloseRead together are a shutdown of both directions.
func (c *shapedConn) CloseWrite() error { c.out.end(io.EOF); return nil }

func (c *shapedConn) CloseRead() error { c.in.stop(io.EOF); return nil }

func (c *shapedConn) Close() error {
	c.in.stop(net.ErrClosed)
	c.out.end(io.EOF)
	c.out.release()
	return nil
}

// abort closes the socket at once.
func (c *shapedConn) abort() {
	c.in.stop(net.ErrClosed)
	c.out.stop(net.ErrClosed)
	c.out.release()
	_ = c.Conn.Close()
}

func (c *shapedConn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

func (c *shapedConn) SetReadDeadline(t time.Time) error { c.in.setReadDeadline(t); return nil }

func (c *shapedConn) SetWriteDeadline(t time.Time) error { c.out.setWriteDeadline(t); return nil }

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
	d.pullTime = stoppedTimer(d.cond.Broadcast)
	d.pushTime = stoppedTimer(d.cond.Broadcast)
	return d
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
