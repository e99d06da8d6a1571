package uftp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// openSet opens the connections of one transfer and sends cmds, whose replies it
// does not read, all in one packet.
func (s *session) openSet(cmds ...string) (connSet, error) {
	defer s.setPhase(s.setPhase(opening))
	s.dropData()
	n, err := s.streams()
	if err != nil {
		return connSet{}, err
	}
	passive := s.passive.Load()
	var send []string
	if n > 1 {
		send = append(send, "NOOP "+strconv.Itoa(n)) // forgotten with each set
	}
	for range n {
		if passive {
			send = append(send, "PASV")
		} else {
			send = append(send, "EPSV")
		}
	}
	if err := s.ctl.send(append(send, cmds...)...); err != nil {
		return connSet{}, err
	}
	if n > 1 {
		r, err := s.ctl.readReply()
		if err == nil && r.code != 222 {
			err = fmt.Errorf("%w: %d streams refused (%d: %s)", ErrUnavailable, n, r.code, r.text)
		}
		if err != nil {
			return connSet{}, err
		}
	}
	return s.connect(n, passive)
}

// connect opens n connections, each where the server says.
func (s *session) connect(n int, passive bool) (set connSet, err error) {
	for range n {
		addr, err := s.readAddress(passive)
		if err != nil {
			_ = set.Close()
			return connSet{}, err
		}
		conn, err := s.dialData(addr)
		if err != nil {
			_ = set.Close()
			if !s.isClosed() {
				s.passive.Store(!passive) // as in open
			}
			return connSet{}, fmt.Errorf("%w: data connection to %s: %w", ErrUnavailable, addr, err)
		}
		set.all = append(set.all, stallConn{conn, s.stall})
	}
	s.trips.Add(1)
	set.Conn = set.all[0]
	return set, s.setData(set)
}

// streams returns how many streams the server allows of those wanted.
func (s *session) streams() (int, error) {
	c := s.codec
	if wanted := c.streams; wanted > 1 && c.granted == 0 {
		r, err := s.exchange("NOOP " + strconv.Itoa(wanted))
		if err != nil {
			return 0, err
		}
		switch words := strings.Fields(r[0].text); {
		case r[0].code == 222:
			c.granted = wanted
		case r[0].code == 223 && len(words) > 1:
			c.granted, err = strconv.Atoi(words[1])
			if err != nil || c.granted < 1 || c.granted > wanted {
				return 0, fmt.Errorf("%w: streams: %d %.200q", ErrProtocol, r[0].code, r[0].text)
			}
		default: // a server that does not know of any
			c.granted = 1
		}
	}
	return max(c.granted, 1), nil
}

// begun reads the replies to the last commands up to the transfer's, whose code is
// 150, and returns that one. A refusal, behind which the replies to as many
// further commands come, leaves the session fit for the next transfer.
func (s *session) begun(set connSet, behind int, codes ...int) (reply, error) {
	replies := make([]reply, len(codes))
	for i := range replies {
		var err error
		if replies[i], err = s.ctl.readReply(); err != nil {
			return reply{}, err
		}
	}
	start := replies[len(replies)-1]
	err := firstRefusal(replies, codes...)
	switch {
	case err == nil:
		return start, nil
	case start.code == 150: // it does what was not asked for
		return reply{}, fmt.Errorf("%w: %s", ErrProtocol, err.Error())
	}
	for range behind {
		if _, err := s.ctl.readReply(); err != nil {
			return reply{}, err
		}
	}
	s.dropData()
	if len(set.all) > 1 {
		// The server holds the connections, and would count them in the next set.
		// A missing name makes it close them.
		if _, err := s.exchange("MLST " + tempName()); err != nil {
			return reply{}, err
		}
	}
	return reply{}, err
}

// source returns the decoded data of a set.
func (s *session) source(set connSet) (io.Reader, error) {
	streams := make([]io.Reader, len(set.all))
	for i, c := range set.all {
		streams[i] = c
	}
	return s.codec.decoder(streams)
}

// readCoded is readAt for connections that are not plain.
func (s *session) readCoded(path string, p []byte, off int64) (int, error) {
	set, err := s.openSet(s.rang(off, int64(len(p))), "RETR "+wirePath(path))
	if err != nil {
		return 0, err
	}
	start, err := s.begun(set, 0, 350, 150)
	if err != nil {
		return 0, s.explain(path, err)
	}
	if n, ok := parseAvailable(start.text); ok && n != int64(len(p)) {
		return 0, s.miscounted(n, int64(len(p)))
	}
	r, err := s.source(set)
	if err != nil {
		return 0, err
	}
	n, rerr := io.ReadFull(r, p)
	if rerr == nil {
		rerr = atEnd(r)
	}
	s.dropData()
	end, err := s.ctl.readReply()
	if err == nil {
		err = end.want(226)
	}
	if err != nil {
		return 0, err
	}
	s.received.Add(int64(n))
	switch {
	case rerr == nil:
		return n, nil
	case errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF):
		more, err := s.reaches(path, off+int64(n)+1)
		if err == nil && more {
			err = lost(rerr)
		}
		if err != nil {
			return 0, err
		}
		return n, io.EOF
	case errors.Is(rerr, ErrProtocol):
		return 0, rerr
	}
	return 0, lost(rerr)
}

// startGetCoded is startGet for connections that are not plain. It sends as many
// commands, so that the end is the same.
func (s *session) startGetCoded(path string) (net.Conn, int64, error) {
	const same = "KEEP-ALIVE false"
	set, err := s.openSet(same, noRange, "RETR "+wirePath(path), same)
	if err != nil {
		return nil, 0, err
	}
	keep, err := s.ctl.readReply()
	if err != nil {
		return nil, 0, err
	}
	start, err := s.begun(set, 1, 350, 150)
	if err != nil {
		return nil, 0, s.explain(path, err)
	}
	n, ok := parseAvailable(start.text)
	if !ok || n < 0 {
		return nil, 0, fmt.Errorf("%w: RETR announces %.200q (%d)", ErrProtocol, start.text, keep.code)
	}
	r, err := s.source(set)
	if err != nil {
		return nil, 0, err
	}
	if n == 0 { // nobody will read, and the server fails if it cannot send the layers' ends
		if err := atEnd(r); err != nil {
			return nil, 0, lost(err)
		}
	}
	return &codedConn{Conn: set, r: r, left: n}, n, nil
}

// codedConn is a connection of n decoded bytes, the end of which is checked.
type codedConn struct {
	net.Conn
	r    io.Reader
	left int64
}

func (c *codedConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left == 0 && err == nil {
		if err = atEnd(c.r); err == nil {
			err = io.EOF
		}
	}
	return n, err
}
