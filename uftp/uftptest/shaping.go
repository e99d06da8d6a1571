package uftptest

import (
	"errors"
	"io"
	"net"
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
		if errors.Is(err, io.EOF) {
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
