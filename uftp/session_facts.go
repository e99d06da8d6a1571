package uftp

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// uftpd splits the arguments of MFF and MFMT at blanks and fails on a path with
// one. So a directory with a blank in its path is entered first (CWD, and back
// again), and a file with a blank in its own name is renamed for a moment, all
// in one packet:
//
//	RNFR "a b", RNTO tmp, MFF … tmp, MFMT … tmp, RNFR tmp, RNTO "a b"
//
// For that moment, which is shorter than a round trip, others see the file under
// the temporary name, and somebody who makes a new file of the old name just
// then loses it. If the connection breaks in the middle, the next attempt looks
// for the temporary name and puts the file back; see putBack.

// setFact runs MFF and MFMT commands, which want a path without blanks behind them,
// for one that has some. tmp is a fresh name for the file in its directory.
func (s *session) setFact(path, tmp string, cmds []string) error {
	set := func(name string) error {
		r, err := s.exchange(factCommands(cmds, wirePath(name))...)
		if err != nil {
			return err
		}
		return wantFacts(r)
	}
	dir, base := parent(path)
	if strings.Contains(base, " ") {
		// A directory can be entered and named ".", if we may enter it.
		if err := s.within(path, func() error { return set(".") }); !errors.Is(err, errNotEntered) {
			return err
		}
	}
	if !strings.Contains(dir, " ") {
		return s.setRenamed(path, child(dir, tmp), cmds)
	}
	err := s.within(dir, func() error {
		if !strings.Contains(base, " ") {
			return set(base)
		}
		return s.setRenamed(base, tmp, cmds)
	})
	if errors.Is(err, errNotEntered) {
		return &refusal{code: 550, msg: err.Error(), cause: fs.ErrPermission}
	}
	return err
}

// errNotEntered means that CWD was refused.
var errNotEntered = errors.New("directory cannot be entered")

// within runs f in the directory dir. Nothing is sent before the server is
// there. A session that cannot go back to the base directory is closed.
func (s *session) within(dir string, f func() error) error {
	if err := s.do("CWD "+wirePath(dir), 2); isRefusal(err) {
		return fmt.Errorf("%w: %w", errNotEntered, err)
	} else if err != nil {
		return err
	}
	err := f()
	if err == nil || isRefusal(err) {
		if back := s.do("CWD "+climb(dir), 2); back != nil {
			s.abort()
		}
	}
	return err
}

// rename gives a file another name.
func (s *session) rename(from, to string) error {
	r, err := s.renaming(wirePath(from), "RNTO "+wirePath(to))
	if err != nil {
		return err
	}
	return r[0].want(2)
}

// renaming says what will be renamed and, if that is accepted, the commands; it
// returns the replies to these. The server remembers what it was to rename, also when
// that is done: were RNFR refused, an RNTO in the same packet would rename the file of
// the last one, or what has its name by then. So only the first one of a session goes
// in one packet.
func (s *session) renaming(from string, cmds ...string) ([]reply, error) {
	if s.renamed {
		if err := s.do("RNFR "+from, 350); err != nil {
			return nil, err
		}
		return s.exchange(cmds...)
	}
	s.renamed = true
	r, err := s.exchange(append([]string{"RNFR " + from}, cmds...)...)
	if err != nil {
		return nil, err
	}
	return r[1:], r[0].want(350)
}

// setRenamed runs the commands on the file while it is called tmp.
func (s *session) setRenamed(path, tmp string, cmds []string) error {
	w, wt := wirePath(path), wirePath(tmp)
	all := append([]string{"RNTO " + wt}, factCommands(cmds, wt)...)
	r, err := s.renaming(w, append(all, "RNFR "+wt, "RNTO "+w)...)
	if err != nil {
		return err
	}
	if err := r[0].want(2); err != nil {
		return err
	}
	if back := r[len(r)-1]; back.want(2) != nil {
		if _, err := s.exchange("RNFR "+wt, "RNTO "+w); err != nil {
			return err
		}
		return fmt.Errorf("%w: rename back from %q: %d %s", ErrProtocol, tmp, back.code, back.text)
	}
	return wantFacts(r[1 : len(r)-2])
}

// firstRefusal returns the first failure among the replies.
func firstRefusal(r []reply, codes ...int) error {
	for i, code := range codes {
		if err := r[i].want(code); err != nil {
			return err
		}
	}
	return nil
}

// putBack gives a file its name back that an attempt left under tmp.
func (s *session) putBack(path, tmp string) error {
	if _, err := s.stat(tmp); err != nil {
		_, err := absent(err, true, true)
		return err
	}
	if _, err := s.stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err // somebody made a new one: keep both
	}
	return s.rename(tmp, path)
}
