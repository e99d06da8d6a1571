package uftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
)

// A directory is listed in two halves: STAT N for exact times, on the control
// connection, and MLSD for the modes, on a data connection, which the server
// closes behind it.

// halves are the two of one listing.
type halves struct {
	listing
	stat  reply // to STAT N
	modes map[string]facts
	merr  error // a refusal of MLSD
}

// list reads a directory, both halves in one packet.
func (s *session) list(path string) ([]Info, error) {
	var h halves
	nonce := nonce()
	ask := []string{"STAT N " + wirePath(path), "RANG " + nonce + " " + nonce, noRange}
	read := func() (err error) { h.stat, err = s.readListing(&h.listing, nonce); return err }
	conn, err := s.openFor(read, packet("MLSD "+wirePath(path)), ask...)
	if err != nil {
		return nil, err
	}
	if err := s.readModes(conn, &h); err != nil {
		return nil, err
	}
	return s.joined(path, &h)
}

// openFor sends before and after in one packet, with a data connection for after:
// the present one, or a new one.
func (s *session) openFor(read func() error, after []byte, before ...string) (net.Conn, error) {
	s.mu.Lock()
	conn := s.data
	s.mu.Unlock()
	s.robbed = s.robbed || conn != nil
	if conn == nil || !quiet(conn) {
		return s.open(read, after, before...)
	}
	if err := s.ctl.sendPacket(append(packet(before...), after...)); err != nil {
		return nil, err
	}
	return conn, read()
}

// listTimes gets the first half. told is called with the number of entries, at
// each.
func (s *session) listTimes(path string, h *halves, told func(entries int)) (err error) {
	nonce := nonce()
	if err := s.ctl.ask("STAT N "+wirePath(path), "RANG "+nonce+" "+nonce, noRange); err != nil {
		return err
	}
	h.told = told
	h.stat, err = s.readListing(&h.listing, nonce)
	return err
}

// listModes gets the second half.
func (s *session) listModes(path string, h *halves) error {
	s.robbed = s.robbed || s.hasData()
	conn, err := s.transfer("MLSD " + wirePath(path))
	if err != nil {
		return err
	}
	return s.readModes(conn, h)
}

// joined makes a listing of its halves.
func (s *session) joined(path string, h *halves) ([]Info, error) {
	serr := h.stat.want(211)
	switch {
	case serr != nil && h.merr != nil:
		return nil, serr
	case errors.Is(h.merr, fs.ErrNotExist) && len(h.entries) == 1:
		var r *refusal
		_ = errors.As(h.merr, &r) // it is one
		return nil, &refusal{code: r.code, msg: r.msg, cause: syscall.ENOTDIR}
	case h.merr != nil:
		return nil, h.merr
	case serr != nil:
		return nil, serr
	}
	entries, missing := h.join(h.modes)
	if len(missing) > maxMissing {
		return nil, fmt.Errorf("%w: the listing of modes lacks %d entries", ErrUnavailable, len(missing))
	}
	for _, name := range missing {
		switch i, err := s.stat(child(path, name)); {
		case err == nil:
			entries = append(entries, i)
		case !isRefusal(err):
			return nil, err
		}
	}
	return entries, nil
}

// maxMissing is how many entries may be in one half of a listing and not in the
// other, because they went away or because the connection did.
const maxMissing = 32

// readListing reads the replies to STAT N and to the two RANGs behind it: names
// come from other people, and one with a newline could look like the end of the
// reply; so the end is a reply to RANG with a number that nobody can know. It
// returns the first line of the reply to STAT.
func (s *session) readListing(l *listing, nonce string) (stat reply, err error) {
	line, err := s.ctl.readLine()
	if err != nil {
		return reply{}, err
	}
	stat, more, err := parseReplyLine(line)
	if err != nil {
		return reply{}, err
	}
	prev, hasPrev := "", false
	defer func() { s.ctl.lull = false }()
	for {
		line, err := s.ctl.readLine()
		if err != nil {
			return reply{}, err
		}
		if strings.HasPrefix(line, "350 ") && strings.Contains(line, nonce) {
			break
		}
		if !more {
			return reply{}, fmt.Errorf("%w: unexpected %.200q", ErrProtocol, line)
		}
		if hasPrev {
			if err := l.add(prev); err != nil {
				return reply{}, err
			}
		}
		prev, hasPrev = line, true
		s.ctl.lull = len(l.entries) > lullAfter
	}
	if more && !strings.HasPrefix(prev, "211 ") {
		return reply{}, fmt.Errorf("%w: listing ends with %.200q", ErrProtocol, prev)
	}
	r, err := s.ctl.readReply()
	if err != nil {
		return reply{}, err
	}
	if r.code != 350 {
		return reply{}, fmt.Errorf("%w: range not reset (%d: %.200s)", ErrProtocol, r.code, r.text)
	}
	return stat, nil
}

// readModes reads the replies to MLSD, and its lines on the data connection until
// the server closes it.
func (s *session) readModes(conn net.Conn, h *halves) error {
	defer s.dropData() // as the server does
	start, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	if h.merr = start.want(150); h.merr != nil {
		if !isRefusal(h.merr) {
			return h.merr
		}
		return nil
	}
	if h.modes, err = s.readFacts(conn); err != nil {
		return err
	}
	end, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	return end.want(226)
}

// readFacts reads MLSD's lines.
func (s *session) readFacts(conn net.Conn) (map[string]facts, error) {
	modes := make(map[string]facts)
	in := newControl(conn, s.stall, &s.trips) // for its lines and its deadlines
	in.crlf = s.ctl.crlf
	last := ""
	for total := 0; ; {
		line, err := in.readLine()
		if errors.Is(err, io.EOF) {
			return modes, nil
		}
		if err != nil {
			return nil, err
		}
		if total += len(line); total > maxListing {
			return nil, fmt.Errorf("%w: listing larger than %d bytes", ErrProtocol, maxListing)
		}
		if f, ok := parseFacts(line); ok {
			modes[f.name], last = f, f.name
			in.lull = len(modes) > lullAfter
		} else {
			delete(modes, last) // the rest of a name with a newline
		}
	}
}
