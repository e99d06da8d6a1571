package uftptest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A stream is what transfers read from and write to: a data connection, or one
// behind decoders, or several of them. Its calls have the semantics of Python's.
type stream interface {
	// read returns n bytes, or fewer at the end of the stream. The bytes are
	// valid until the next call. Framed streams may return more.
	read(n int) ([]byte, error)
	// write sends p.
	write(p []byte) error
	// close ends the stream; decoders that were not read from write their last
	// bytes before. It may be called again.
	close()
}

// readAhead is the size of Python's buffer for a socket.
const readAhead = 8192

// A dataConn is one TCP connection for data.
type dataConn struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func newDataConn(conn net.Conn) *dataConn {
	if tcp, ok := conn.(interface{ SetNoDelay(bool) error }); ok {
		_ = tcp.SetNoDelay(false)
	}
	keepAlive(conn)
	return &dataConn{conn: conn, r: bufio.NewReaderSize(conn, readAhead)}
}

func (c *dataConn) read(n int) ([]byte, error) {
	if cap(c.buf) < n {
		// Grow with what comes, not with what a client says will come.
		if n > defaultBuffer {
			var err error
			c.buf, err = io.ReadAll(io.LimitReader(c.r, int64(n)))
			return c.buf, err
		}
		c.buf = make([]byte, n)
	}
	got, err := io.ReadFull(c.r, c.buf[:n])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return c.buf[:got], err
}

func (c *dataConn) write(p []byte) error {
	_, err := c.conn.Write(p)
	return err
}

// close shuts the connection down; the descriptor goes with session.closeData.
func (c *dataConn) close() { shutdown(c.conn) }

func (s *session) pasv(argument) error { return s.openData(s.passiveReply) }

func (s *session) epsv(arg argument) error {
	if arg.text == "ALL" && !s.eng.quirks.OldErrors {
		return s.ctrl.reply("200 OK")
	}
	return s.openData(func(port int) string {
		return "229 Entering Extended Passive Mode (|||" + strconv.Itoa(port) + "|)"
	})
}

func (s *session) passiveReply(port int) string {
	host := s.eng.quirks.AdvertiseHost
	if host == "" {
		host = addrHost(s.ctrl.conn.LocalAddr())
	}
	return "227 Entering Passive Mode (" + strings.ReplaceAll(host, ".", ",") + "," +
		strconv.Itoa(port/256) + "," + strconv.Itoa(port%256) + ")"
}

// openData listens, says where, and waits for the client. Nothing else happens
// meanwhile; a client that does not come in time, or comes from elsewhere, loses
// its session. A set of connections that is complete is closed first.
func (s *session) openData(describe func(port int) string) error {
	if len(s.conns) == s.options.streams {
		s.closeData()
	}
	ln, err := s.listen("0")
	if err != nil {
		return err
	}
	port := addrPort(ln.Addr())
	if s.eng.quirks.LateListen {
		if ln, err = s.listenLate(ln, describe(port)); err != nil {
			return err
		}
	} else if err := s.ctrl.reply("%s", describe(port)); err != nil {
		_ = ln.Close()
		return err
	}
	conn, err := s.accept(ln)
	if err != nil {
		s.log.Debug("no data connection", "err", err)
		return errEndSession
	}
	return s.adopt(conn)
}

// listen opens a port at the address that the control connection came to.
func (s *session) listen(port string) (net.Listener, error) {
	host := addrHost(s.ctrl.conn.LocalAddr())
	ln, err := s.eng.cfg.Listen(s.ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, osError(err)
	}
	return ln, nil
}

// listenLate names the port while nothing listens there.
func (s *session) listenLate(ln net.Listener, reply string) (net.Listener, error) {
	const late = 20 * time.Millisecond
	port := strconv.Itoa(addrPort(ln.Addr()))
	_ = ln.Close()
	if err := s.ctrl.reply("%s", reply); err != nil {
		return nil, err
	}
	if err := s.sleep(late); err != nil {
		return nil, err
	}
	return s.listen(port)
}

var errNobody = errors.New("timed out")

// accept takes one connection from ln and closes ln.
func (s *session) accept(ln net.Listener) (net.Conn, error) {
	if !s.track(ln) {
		return nil, errEndSession
	}
	defer s.drop(ln)
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.eng.quirks.AcceptTimeout, errNobody)
	defer cancel()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = ln.Close()
	})
	conn, err := ln.Accept()
	if !stop() {
		<-closed
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	if from := addrHost(conn.RemoteAddr()); from != s.peer {
		_ = conn.Close()
		return nil, raise("Rejecting connection from unexpected host %s - expected %s", from, s.peer)
	}
	return conn, nil
}

// adopt adds a connection to the set, and makes the stream when the set is complete.
func (s *session) adopt(conn net.Conn) error {
	conn = s.eng.shaper.wrap(conn)
	if !s.track(conn) {
		return errEndSession
	}
	s.eng.counts.update(func(st *Stats) { st.DataConnections++ })
	if f := s.eng.faults.take(FaultData); f != nil {
		if err := s.strike(f); err != nil {
			return err
		}
		if f.Cut {
			reset(conn)
		}
	}
	s.conns = append(s.conns, newDataConn(conn))
	if len(s.conns) != s.options.streams {
		return nil
	}
	data, err := newStream(s.conns, &s.options)
	if err != nil {
		return err
	}
	s.data = data
	return nil
}

// newStream puts together the stream that the options ask for.
func newStream(conns []*dataConn, o *options) (stream, error) {
	if len(conns) > 1 {
		return newParallel(conns, o)
	}
	var st stream = conns[0]
	if o.encrypted() {
		c, err := newCrypted(st, o.key, o.algo)
		if err != nil {
			return nil, err
		}
		st = c
	}
	if o.compress {
		st = newCompressed(st)
	}
	return st, nil
}

// closeData closes the data connection, and forgets the number of streams.
func (s *session) closeData() {
	s.options.streams = 1
	if s.data != nil {
		s.data.close()
		s.data = nil
	}
	for _, c := range s.conns {
		s.drop(c.conn)
	}
	s.conns = nil
}

// faultDue strikes with the fault of the command at work if it is due after
// total bytes. It reports whether the transfer ends there, as a success.
func (s *session) faultDue(total int64) (stop bool, err error) {
	f := s.faultPending
	if f == nil || total < f.After {
		return false, nil
	}
	s.faultPending = nil
	if f.Transfer {
		if err := s.strike(f); err != nil {
			return false, err
		}
	}
	switch {
	case f.Cut:
		for _, c := range s.conns {
			reset(c.conn)
		}
		return false, osError(syscall.ECONNRESET)
	case f.Errno != 0:
		return false, osError(f.Errno)
	}
	return f.Short, nil
}

// untilFault is the number of bytes to move next: n, or fewer if a fault comes
// before.
func (s *session) untilFault(total, n int64) int64 {
	if f := s.faultPending; f != nil && f.After > total {
		return min(n, f.After-total)
	}
	return n
}
