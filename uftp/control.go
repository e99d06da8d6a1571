package uftp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxLine bounds one line of a reply. Paths are at most some 8,000
	// characters; the server's quoting may make four bytes of one.
	maxLine = 64 << 10
	// maxReplyLines bounds one reply, listings apart.
	maxReplyLines = 1000
	// maxLibraryBytes bounds what the server may answer to one call of the FTP
	// library, which collects replies in memory without a limit of its own.
	maxLibraryBytes = 1 << 20
)

// control is a session's control connection. It is the only reader of the
// socket and is shared by two users that take turns: the FTP library, which
// sees a net.Conn whose Read never returns more than one line, so that it never
// buffers a byte that is not its own; and our own commands, which use readLine.
//
// It re-arms TCP_QUICKACK before it waits: uftpd leaves Nagle's algorithm on and
// sends replies in several small writes, so that a delayed acknowledgement would
// cost 40 ms a command. It gives up when the server is silent for longer than
// the stall time, and never logs what passes through it.
//
// A control is used by one goroutine at a time; only Close may be called at any
// moment, and sendAhead while another goroutine reads.
type control struct {
	net.Conn
	br    *bufio.Reader
	stall time.Duration
	trips *atomic.Int64 // round trips of all sessions of the client
	trip  *shortest     // of them, once the session is open

	progress *atomic.Int64 // bytes of the session's data connection: while they move, a reply may take its time

	waiting bool      // something was written since the last wait
	since   time.Time // when that was
	sent    bool      // something was written since the operation began
	broken  bool      // the connection failed: it did not just end, or keep silent
	midLine bool      // Read returned part of a line
	code    string    // first three bytes of the line Read returned last
	crlf    bool      // the greeting ended in CR LF, and so do all lines
	allowed int       // bytes Read may still return in this call of the library
	lull    bool      // what comes is many small pieces: they are waited for together

	pusher
}

func newControl(conn net.Conn, stall time.Duration, trips *atomic.Int64) *control {
	c := &control{Conn: conn, stall: stall, trips: trips, allowed: maxLibraryBytes}
	c.br = bufio.NewReaderSize(waiter{c}, maxLine)
	return c
}

// shortest is the shortest of some durations. The zero value has seen none; nil
// takes none. It is safe for concurrent use.
type shortest struct{ d atomic.Int64 }

func (s *shortest) note(d time.Duration) {
	for s != nil {
		old := s.d.Load()
		if old > 0 && old <= int64(d) || s.d.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func (s *shortest) get() time.Duration { return time.Duration(s.d.Load()) }

// The server sends a listing entry by entry, and waking up for each takes longer
// than all else that is done about it. So a long one is read a lullTime's worth at
// a time.
const (
	lullTime  = time.Millisecond
	lullAfter = 50 // entries
)

// waiter is where a control blocks.
type waiter struct{ c *control }

func (w waiter) Read(p []byte) (int, error) {
	c := w.c
	if c.lull {
		quickAck(c.Conn)
		<-time.After(lullTime)
	}
	waited := c.waiting
	if waited {
		c.waiting = false
		c.trips.Add(1)
	}
	for {
		before := c.moved()
		if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
			return 0, err
		}
		quickAck(c.Conn)
		n, err := c.Conn.Read(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.moved() != before {
			continue
		}
		if waited && n > 0 && c.owed == 0 { // else it may be what came too late for others
			c.trip.note(time.Since(c.since))
		}
		return n, c.note(err)
	}
}

// moved returns how much was moved on the data connection.
func (c *control) moved() int64 {
	if c.progress == nil {
		return 0
	}
	return c.progress.Load()
}

// note remembers that the connection is broken. The next Read of a connection
// that was reset says that it ended.
func (c *control) note(err error) error {
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) { //nolint:errorlint // a net.Conn's own
		c.broken = true
	}
	return err
}

// Write implements net.Conn.
func (c *control) Write(p []byte) (int, error) {
	c.waiting, c.sent, c.since = true, true, time.Now()
	c.written()
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, c.note(err)
}

// Read implements net.Conn for the library: it returns at most the rest of the
// current line.
func (c *control) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !c.midLine {
		if err := c.skipOwed(); err != nil {
			return 0, err
		}
	}
	if _, err := c.br.Peek(1); err != nil {
		return 0, err
	}
	buf, _ := c.br.Peek(min(len(p), c.br.Buffered()))
	n := len(buf)
	if i := bytes.IndexByte(buf, '\n'); i >= 0 {
		n = i + 1
	}
	if !c.midLine {
		c.code = string(buf[:min(3, n)])
	}
	c.midLine = buf[n-1] != '\n'
	if c.code == "220" && !c.midLine {
		c.crlf = bytes.HasSuffix(buf[:n], []byte("\r\n"))
	}
	if c.allowed -= n; c.allowed < 0 {
		return 0, fmt.Errorf("%w: reply too long", ErrProtocol)
	}
	copy(p, buf[:n])
	return c.br.Discard(n)
}

// readLine returns the next line without its end.
func (c *control) readLine() (string, error) {
	line, err := c.readBytes()
	return string(line), err
}

// readBytes is readLine without a copy: the line is valid until the next read.
func (c *control) readBytes() ([]byte, error) {
	if err := c.skipOwed(); err != nil {
		return nil, err
	}
	line, err := c.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: line longer than %d bytes", ErrProtocol, maxLine)
	}
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, lost(err)
	}
	return c.trimEOL(line), nil
}

// trimEOL cuts the line end the server uses. A file name may end in CR where
// lines end in a bare LF.
func (c *control) trimEOL(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if c.crlf {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

// packet returns the commands as they are sent.
func packet(cmds ...string) []byte {
	return []byte(strings.Join(cmds, "\r\n") + "\r\n")
}

// ask is send for commands whose replies are awaited before anything else is sent.
func (c *control) ask(cmds ...string) error { return c.sendPacket(c.pushed(packet(cmds...))) }

// send writes the commands in one packet.
func (c *control) send(cmds ...string) error { return c.sendPacket(packet(cmds...)) }

func (c *control) sendPacket(p []byte) error {
	_, err := c.Write(p)
	return lost(err)
}

// sendAhead is sendPacket for one goroutine while another one reads: the packet
// follows others whose replies are not all there, and costs no wait of its own.
func (c *control) sendAhead(p []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return lost(err)
	}
	_, err := c.Conn.Write(p)
	return lost(err)
}

// readReply reads one whole reply.
func (c *control) readReply() (reply, error) {
	line, err := c.readLine()
	if err != nil {
		return reply{}, err
	}
	return c.restOfReply(line)
}

// restOfReply reads what follows the first line of a reply.
func (c *control) restOfReply(line string) (reply, error) {
	r, more, err := parseReplyLine(line)
	if err == nil && r.code == codeGoing {
		err = goingDown(r.text)
	}
	if err != nil || !more {
		return r, err
	}
	end := line[:3] + " "
	for range maxReplyLines {
		line, err := c.readLine()
		if err != nil {
			return reply{}, err
		}
		if strings.HasPrefix(line, end) {
			r.last = line[4:]
			return r, nil
		}
		r.body = append(r.body, line)
	}
	return reply{}, fmt.Errorf("%w: reply longer than %d lines", ErrProtocol, maxReplyLines)
}

// lost says that err, which a connection returned, is the end of it.
func lost(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrProtocol) {
		return err
	}
	return fmt.Errorf("%w: connection lost: %w", ErrUnavailable, err)
}
