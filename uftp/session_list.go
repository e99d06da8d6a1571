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
// closes behind it. The modes of a few entries are asked for with MLST instead,
// which leaves the data connection to transfers.

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
	return s.found(path, entries, missing)
}

// found appends to entries what there is of those that one half did not have.
func (s *session) found(path string, entries []Info, missing []string) ([]Info, error) {
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

// shortListing is how many entries are asked for their modes one by one.
const shortListing = 64

// listShort lists a directory that is believed to have few entries: in two round
// trips, without a data connection.
func (s *session) listShort(path string) ([]Info, error) {
	l, err := s.listSome([]string{path})
	if err != nil {
		return nil, err
	}
	return l[0].Entries, l[0].Err
}

// listSome lists directories that are believed to have few entries, all in two round
// trips. The error is that of the connection.
func (s *session) listSome(paths []string) ([]Listing, error) {
	all, nonce := make([]*halves, len(paths)), nonce()
	var cmds []string
	for _, path := range paths {
		w := wirePath(path)
		cmds = append(cmds, "STAT F "+w, "STAT N "+w, "RANG "+nonce+" "+nonce, noRange)
	}
	if err := s.ctl.ask(cmds...); err != nil {
		return nil, err
	}
	listings := make([]Listing, len(paths))
	for i := range paths {
		all[i] = &halves{modes: make(map[string]facts)}
		if listings[i].Err = s.readSelf(all[i], nonce); listings[i].Err != nil && !isRefusal(listings[i].Err) {
			return nil, listings[i].Err
		}
	}
	if err := s.modesByName(paths, all, listings); err != nil {
		return nil, err
	}
	for i, path := range paths {
		if l := &listings[i]; l.Err == nil {
			if l.Entries, l.Err = s.completed(path, all[i]); l.Err != nil && !isRefusal(l.Err) {
				return nil, l.Err
			}
		}
	}
	return listings, nil
}

// readSelf reads the first half, and what the directory itself is: of a file STAT N
// tells as much as of a directory with one.
func (s *session) readSelf(h *halves, nonce string) error {
	self, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	if h.stat, err = s.readListing(&h.listing, nonce); err != nil {
		return err
	}
	if err := errors.Join(self.want(211), h.stat.want(211)); err != nil {
		return firstRefusal([]reply{self, h.stat}, 211, 211)
	}
	if i, ok := statInfo(self); ok && !i.IsDir() {
		return &refusal{cause: syscall.ENOTDIR}
	}
	return nil
}

// byName reports whether the second half is asked for with MLST.
func (s *session) byName(h *halves) bool { return s.codec != nil || len(h.entries) <= shortListing }

// modesByName gets the second half of those that are short.
func (s *session) modesByName(paths []string, all []*halves, listings []Listing) error {
	var files []string
	var put []func(facts)
	for i, h := range all {
		if listings[i].Err != nil || !s.byName(h) {
			continue
		}
		for _, e := range h.entries {
			if addressable(e.Name) {
				files = append(files, child(paths[i], e.Name))
				put = append(put, func(f facts) { h.modes[e.Name] = f })
			}
		}
	}
	for len(files) > 0 {
		n, err := s.modesOf(files, put)
		if err != nil {
			return err
		}
		files, put = files[n:], put[n:]
	}
	return nil
}

// completed makes a listing of its halves, of which it gets the second if that is
// not there yet.
func (s *session) completed(path string, h *halves) ([]Info, error) {
	if s.byName(h) {
		entries, missing := h.join(h.modes)
		return s.found(path, entries, missing)
	}
	if err := s.listModes(path, h); err != nil {
		return nil, err
	}
	return s.joined(path, h)
}

// modesAtOnce is how many bytes of commands are sent ahead of their replies: less
// than what a connection holds, so that neither end waits for the other.
const modesAtOnce = 16 << 10

// modesOf asks for the modes of the first of some files, gives them to put, and
// returns how many that were.
func (s *session) modesOf(files []string, put []func(facts)) (n int, err error) {
	var cmds []string
	for size := 0; n < len(files) && size < modesAtOnce; n++ {
		cmds = append(cmds, "MLST "+wirePath(files[n]))
		size += len(cmds[n])
	}
	replies, err := s.exchange(cmds...)
	if err != nil {
		return 0, err
	}
	for i, r := range replies {
		if r.code != 250 || len(r.body) != 1 {
			s.robData()
			continue
		}
		if f, ok := parseFacts(strings.TrimPrefix(r.body[0], " ")); ok {
			put[i](f)
		}
	}
	return n, nil
}
