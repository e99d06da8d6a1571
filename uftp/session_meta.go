package uftp

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// stat asks for a file's or directory's attributes: STAT for the exact time and
// what we may do, MLST for the mode, in one packet. The server closes the data
// connection when an MLST fails.
func (s *session) stat(path string) (Info, error) {
	r, err := s.exchange(statCommands(path)...)
	if err != nil {
		return Info{}, err
	}
	i, _, err := s.described(path, r[0], r[1])
	return i, err
}

func statCommands(path string) []string {
	return append(lookCommands(path), "MLST "+wirePath(path))
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
	return hashIn(r[2], algo)
}

// hashIn returns the hash in a reply to HASH.
func hashIn(r reply, algo string) (string, error) {
	text := r.text
	if r.last != "" { // "213-" lines are signs of life
		text = r.last
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

// epochOf returns the time in a reply to STAT F.
func epochOf(r reply) (time.Time, error) {
	i, err := infoOf(r)
	return i.ModTime, err
}

// look asks for what STAT alone knows.
func (s *session) look(path string) (Info, error) {
	r, err := s.exchange(lookCommands(path)...)
	if err != nil {
		return Info{}, err
	}
	return looked(path, r[0])
}

func lookCommands(path string) []string { return []string{"STAT F " + wirePath(path)} }

// looked returns what the reply to lookCommands says.
func looked(path string, r reply) (Info, error) {
	i, err := infoOf(r)
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
