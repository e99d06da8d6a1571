package uftp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stat asks for a file's or directory's attributes: STAT for the exact time and
// what we may do, MLST for the mode, in one packet. The server closes the data
// connection when an MLST fails.
func (s *session) stat(path string) (Info, facts, error) {
	r, err := s.exchange(statCommands(path)...)
	if err != nil {
		return Info{}, facts{}, err
	}
	return s.described(path, r[0], r[1])
}

func statCommands(path string) []string {
	w := wirePath(path)
	return []string{"STAT F " + w, "MLST " + w}
}

// described returns what the replies to statCommands say.
func (s *session) described(path string, stat, mlst reply) (Info, facts, error) {
	if mlst.code != 250 {
		s.robData()
	}
	i, err := infoOf(stat)
	if err != nil {
		return Info{}, facts{}, err
	}
	i.Name = baseName(path)
	var f facts
	switch err := mlst.want(250); {
	case err == nil && len(mlst.body) == 1:
		var ok bool
		if f, ok = parseFacts(strings.TrimPrefix(mlst.body[0], " ")); !ok {
			return Info{}, facts{}, fmt.Errorf("%w: not an MLST reply: %.200q", ErrProtocol, mlst.body)
		}
	case err == nil:
		return Info{}, facts{}, fmt.Errorf("%w: MLST reply of %d lines", ErrProtocol, len(mlst.body))
	case !isRefusal(err):
		return Info{}, facts{}, err
	case mlst.code == 550: // gone between the two
		return Info{}, facts{}, err
	}
	return i.withFacts(f), f, nil
}

// list reads a directory: STAT N for exact times, MLSD for the modes, all in
// one packet. Names come from other people, and one with a newline could look
// like the end of the reply; so the end is a reply to RANG with a number that
// nobody can know.
func (s *session) list(path string) ([]Info, error) {
	w := wirePath(path)
	nonce := nonce()
	var l listing
	var stat reply
	s.robData()
	conn, err := s.open(
		func() (err error) { stat, err = s.readListing(&l, nonce); return err },
		packet("MLSD "+w),
		"STAT N "+w, "RANG "+nonce+" "+nonce, noRange)
	if err != nil {
		return nil, err
	}
	defer s.dropData() // as the server does
	start, err := s.ctl.readReply()
	if err != nil {
		return nil, err
	}
	serr, merr := stat.want(211), start.want(150)
	switch {
	case merr != nil && !isRefusal(merr):
		return nil, merr
	case serr != nil && merr != nil:
		return nil, serr
	case errors.Is(merr, fs.ErrNotExist) && len(l.entries) == 1:
		return nil, &refusal{code: start.code, msg: start.text, cause: syscall.ENOTDIR}
	case merr != nil:
		return nil, merr
	}
	modes, err := s.readModes(conn)
	if err != nil {
		return nil, err
	}
	end, err := s.ctl.readReply()
	if err == nil {
		err = end.want(226)
	}
	if err == nil {
		err = serr
	}
	if err != nil {
		return nil, err
	}
	entries, missing := l.join(modes)
	if len(missing) > maxMissing {
		return nil, fmt.Errorf("%w: the listing of modes lacks %d entries", ErrUnavailable, len(missing))
	}
	for _, name := range missing {
		switch i, _, err := s.stat(child(path, name)); {
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

// readListing reads the replies to STAT N and to the two RANGs behind it. It
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

// readModes reads MLSD's lines until the server closes the data connection.
func (s *session) readModes(conn net.Conn) (map[string]facts, error) {
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
		} else {
			delete(modes, last) // the rest of a name with a newline
		}
	}
}

// hash asks for the hash of n bytes at off, or of all from there if n < 0.
func (s *session) hash(path, algo string, off, n int64) (string, error) {
	set := s.rang(off, n)
	switch {
	case n < 0 && off == 0:
		set = noRange
	case n < 0:
		set = s.rang(off, 1<<62-off)
	case n == 0:
		set = fmt.Sprintf("RANG %d %d", off, off) // no inclusive form
	}
	r, err := s.exchange("OPTS HASH "+algo, set, "HASH "+wirePath(path))
	if err != nil {
		return "", err
	}
	for _, err := range []error{r[0].want(200), r[1].want(350), r[2].want(213)} {
		if err == nil {
			continue
		}
		return "", s.explain(path, err) // the range stays set; every transfer begins with its own
	}
	text := r[2].text
	if r[2].last != "" { // "213-" lines are signs of life
		text = r[2].last
	}
	got, sum, err := parseHash(text)
	if err == nil && !strings.EqualFold(got, algo) {
		err = fmt.Errorf("%w: hash is %s, not %s", ErrProtocol, got, algo)
	}
	return sum, err
}

// nonce returns a number nobody can guess.
func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return strconv.FormatUint(1<<61|binary.LittleEndian.Uint64(b[:])>>3, 10)
}

// epoch returns the exact modification time.
func (s *session) epoch(path string) (time.Time, error) {
	r, err := s.exchange("STAT F " + wirePath(path))
	if err != nil {
		return time.Time{}, err
	}
	return epochOf(r[0])
}

// epochOf returns the time in a reply to STAT F.
func epochOf(r reply) (time.Time, error) {
	i, err := infoOf(r)
	return i.ModTime, err
}

// look asks for what STAT alone knows.
func (s *session) look(path string) (Info, error) {
	r, err := s.exchange("STAT F " + wirePath(path))
	if err != nil {
		return Info{}, err
	}
	i, err := infoOf(r[0])
	i.Name = baseName(path)
	return i, err
}

// infoOf returns what a reply to STAT F says, but for the name.
func infoOf(r reply) (Info, error) {
	if err := r.want(211); err != nil {
		return Info{}, err
	}
	i, ok := statInfo(r)
	if !ok {
		return Info{}, fmt.Errorf("%w: not a STAT reply: %.200q", ErrProtocol, r.body)
	}
	return i, nil
}
