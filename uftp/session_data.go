package uftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lateListen is how long a refused data port is tried again: UFTPD before
	// 3.5 tells the port before it listens there.
	lateListen = 2 * time.Second
	// replyGrace is how long the reply may take once the data connection failed.
	replyGrace = 10 * time.Second
)

// transfer sends cmds in one packet, after the command that opens a data
// connection if none is open, and returns once there is one. It does not read
// the replies to cmds.
func (s *session) transfer(cmds ...string) (net.Conn, error) {
	return s.transferPacket(s.ctl.pushed(packet(cmds...)))
}

func (s *session) transferPacket(cmds []byte) (net.Conn, error) {
	s.mu.Lock()
	conn := s.data
	s.mu.Unlock()
	if conn != nil {
		if quiet(conn) {
			return conn, s.ctl.sendPacket(cmds)
		}
		s.dropData() // the server closed it
	}
	return s.open(nil, cmds)
}

// robData drops the data connection because a question that needs none takes it.
// Another session would rather be asked such questions.
func (s *session) robData() {
	s.robbed = s.robbed || s.hasData()
	s.dropData()
}

// open sends before, EPSV (or PASV) and after in one packet, calls read for the
// replies to before, and connects where the server listens. A server that
// listens waits for the connection and does nothing else.
func (s *session) open(read func() error, after []byte, before ...string) (net.Conn, error) {
	defer s.setPhase(s.setPhase(opening))
	s.dropData()
	passive := s.passive.Load()
	if err := s.ctl.sendPacket(append(packet(append(before, passiveVerb(passive))...), after...)); err != nil {
		return nil, err
	}
	if read != nil {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return s.connectData(passive)
}

// passiveVerb is the command that makes the server listen.
func passiveVerb(passive bool) string {
	if passive {
		return "PASV"
	}
	return "EPSV"
}

// connectData reads where the server listens, and connects there.
func (s *session) connectData(passive bool) (net.Conn, error) {
	addr, err := s.readAddress(passive)
	if err != nil {
		return nil, err
	}
	conn, err := s.dialData(addr)
	if err != nil {
		// The server waits for us there: this session is lost. The next one
		// takes the address from the reply, or no longer does.
		if !s.isClosed() {
			s.passive.Store(!passive)
		}
		return nil, fmt.Errorf("%w: data connection to %s: %w", ErrUnavailable, addr, err)
	}
	s.trips.Add(1)
	return conn, s.setData(conn)
}

// readAddress reads the reply to EPSV or PASV. A refusal is an error of the
// session: the commands sent with it are about to fail in their own ways.
func (s *session) readAddress(passive bool) (string, error) {
	r, err := s.ctl.readReply()
	if err != nil {
		return "", err
	}
	host, port := s.host, 0
	switch {
	case r.code == 229 && !passive:
		port, err = parseEPSV(r.text)
	case r.code == 227 && passive:
		host, port, err = parsePASV(r.text)
	case r.code >= 400:
		err = fmt.Errorf("%w: no data connection (%d: %s)", ErrUnavailable, r.code, r.text)
	default:
		err = r.want(229)
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}

// dialData connects to a data port, again for a moment if it is refused.
func (s *session) dialData(addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.life, s.timeout)
	defer cancel()
	start := time.Now()
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		conn, err := s.dial(ctx, "tcp", addr)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > lateListen {
			return conn, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// moved is what happened on a data connection.
type moved struct {
	n   atomic.Int64  // bytes so far
	all *atomic.Int64 // the same of all transfers of the session, if not nil

	limit *rateLimit      // of what is written, if not nil
	life  context.Context // of the session
	err   error           // valid once done is closed
	// done is closed by the goroutine that moves the bytes, its last act.
	done chan struct{}
}

// start runs move(conn, m) in a goroutine, which wait collects. When it fails,
// the server is given a moment to say why.
func (s *session) start(conn net.Conn, move func(net.Conn, *moved) error) *moved {
	m := &moved{all: &s.progress, limit: &s.limit, life: s.life, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if m.err = move(conn, m); m.err != nil {
			_ = conn.Close()
			_ = s.ctl.SetReadDeadline(time.Now().Add(min(replyGrace, s.stall)))
		}
	}()
	return m
}

func (m *moved) add(n int) {
	m.n.Add(int64(n))
	if m.all != nil {
		m.all.Add(int64(n))
	}
}

// settled waits for m as long as bytes keep moving, and reports whether it is done.
func (m *moved) settled(patience time.Duration) bool {
	t := time.NewTicker(patience)
	defer t.Stop()
	for last := m.n.Load(); ; {
		select {
		case <-m.done:
			return true
		case <-t.C:
			now := m.n.Load()
			if now == last {
				return false
			}
			last = now
		}
	}
}

// cancel closes the data connection and waits for m.
func (s *session) cancel(m *moved) {
	s.dropData()
	<-m.done
}

// readFull fills p from conn, giving up after a silence of stall.
func readFull(conn net.Conn, p []byte, stall time.Duration, m *moved) error {
	for got := 0; got < len(p); {
		if err := conn.SetReadDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
		n, err := conn.Read(p[got:])
		got += n
		m.add(n)
		if err != nil && got < len(p) {
			return err
		}
	}
	return nil
}

// writeFull writes p to conn, giving up when nothing moves for stall.
func writeFull(conn net.Conn, p []byte, stall time.Duration, m *moved) error {
	const piece = 1 << 20 // what a deadline covers
	for len(p) > 0 {
		n := min(piece, len(p))
		if m.limit != nil {
			n = m.limit.piece(n)
			if err := pause(m.life, m.limit.pass(n, time.Now())); err != nil {
				return err
			}
		}
		if err := conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
		n, err := conn.Write(p[:n])
		m.add(n)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
