package uftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"time"
)

const (
	// settleTime is how long the rest of a transfer may pause after the server
	// said that it sent everything, before we ask it how much there is. Asking
	// too early costs a round trip, nothing else.
	settleTime = 20 * time.Millisecond
	// tailTime is the same when there is as much as was asked for, before we ask
	// the server to end the data connection: longer than TCP takes to mend a loss.
	tailTime = time.Second
)

// rang writes the RANG command for n > 0 bytes at off. The end is exclusive,
// except where the server says otherwise.
func (s *session) rang(off, n int64) string {
	end := off + n
	if s.rfcRang || s.inclusive.Load() {
		end--
	}
	return fmt.Sprintf("RANG %d %d", off, end)
}

// noRange goes before a transfer of a whole file, in the same packet: a failed
// transfer leaves its range set.
const noRange = "RANG 1 0"

// readAt reads into p at off. At the end of the file it returns io.EOF.
//
// On a kept connection a range past the end of the file just sends less, and
// nothing marks the end; and the final reply may be faster than the last bytes.
// If bytes are missing after it we ask for the size. If the file is shorter, or
// they do not come, we ask for another data connection: the server closes the
// present one first, and what it sent before is all there was.
func (s *session) readAt(path string, p []byte, off int64) (int, error) {
	conn, err := s.transfer(s.rang(off, int64(len(p))), "RETR "+wirePath(path))
	if err != nil {
		return 0, err
	}
	m := s.start(conn, func(conn net.Conn, m *moved) error { return readFull(conn, p, s.stall, m) })
	if err := s.begin(m, int64(len(p))); err != nil {
		return 0, s.explain(path, err)
	}
	if err := s.finish(m); err != nil {
		return 0, err
	}
	asked := false
	if !m.settled(settleTime) {
		more, err := s.reaches(path, off+int64(len(p)))
		if err != nil {
			s.cancel(m)
			return 0, err
		}
		if !more || !m.settled(tailTime) {
			asked = true
			if err := s.endData(m); err != nil {
				return 0, err
			}
		}
	}
	n := int(m.n.Load())
	s.received.Add(int64(n))
	switch {
	case n == len(p):
		if !s.keepAlive {
			s.dropData()
		}
		return n, nil
	case errors.Is(m.err, io.EOF) && (asked || !s.keepAlive):
		if !asked {
			s.dropData()
		}
		return n, io.EOF
	default:
		return 0, lost(m.err)
	}
}

// reaches reports whether the file has bytes up to end.
func (s *session) reaches(path string, end int64) (bool, error) {
	st, err := s.exchange("STAT F " + wirePath(path))
	if err != nil {
		return false, err
	}
	i, ok := statInfo(st[0])
	return ok && i.Size >= end, nil
}

// begin reads the replies to RANG and to RETR or STOR until the transfer runs.
// avail, if not negative, is what a RETR must announce. When the server refuses,
// the transfer is cancelled and all is read.
func (s *session) begin(m *moved, avail int64) error {
	rang, err := s.ctl.readReply()
	if err != nil {
		s.cancel(m)
		return err
	}
	start, err := s.ctl.readReply()
	if err != nil {
		s.cancel(m)
		return err
	}
	if err = rang.want(350); err == nil {
		err = start.want(150)
	} else if isRefusal(err) {
		// No range: whatever RETR or STOR does now is not what we asked for.
		err = fmt.Errorf("%w: range refused (%d: %s)", ErrProtocol, rang.code, rang.text)
	}
	if err == nil {
		if n, ok := parseAvailable(start.text); avail >= 0 && ok && n != avail {
			err = s.miscounted(n, avail)
		}
	}
	if err != nil {
		s.cancel(m)
	}
	return err
}

// miscounted is the error for a RETR that announces n bytes instead of want. A
// server may take ranges as inclusive without saying so; the next session knows.
func (s *session) miscounted(n, want int64) error {
	if n == want+1 && !s.rfcRang && s.inclusive.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: the server's ranges include their end", ErrUnavailable)
	}
	return fmt.Errorf("%w: server announces %d bytes, %d were asked for", ErrProtocol, n, want)
}

// finish reads the final reply of a transfer.
func (s *session) finish(m *moved) error {
	end, err := s.ctl.readReply()
	if err == nil {
		err = end.want(226)
	}
	if err != nil {
		s.cancel(m)
	}
	return err
}

// endData makes the server close the data connection, waits until m has read
// everything, and leaves a new data connection.
func (s *session) endData(m *moved) error {
	old, err := s.replaceData()
	if err != nil {
		closeConn(old)
	}
	<-m.done
	s.drained(old)
	return err
}

// replaceData opens another data connection, before which the server closes the
// present one. That is returned, with its last bytes, also with an error; it must
// be given to drained.
func (s *session) replaceData() (old net.Conn, err error) {
	s.mu.Lock()
	old = s.data
	s.draining, s.data = old, nil // open must not close it: its last bytes are on their way
	s.mu.Unlock()
	_, err = s.open(nil, nil)
	return old, err
}

func (s *session) drained(old net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeConn(old)
	s.draining = nil
}

func closeConn(conn net.Conn) {
	if conn != nil {
		_ = conn.Close() // nothing depends on it any more
	}
}

// explain tells an unreadable file from a missing one: RETR and HASH answer
// 550 to both.
func (s *session) explain(path string, err error) error {
	var r *refusal
	if !errors.As(err, &r) || !errors.Is(r.cause, fs.ErrNotExist) {
		return err
	}
	st, serr := s.exchange("STAT F " + wirePath(path))
	if serr != nil {
		return serr
	}
	if st[0].code == 211 {
		return &refusal{code: r.code, msg: r.msg, cause: syscall.EACCES}
	}
	return err
}

// writeAt writes p at off without truncating the file; it creates the file if
// need be. The server answers 226 also when the connection ended early, so the
// size is checked in the same packet.
func (s *session) writeAt(path string, p []byte, off int64) error {
	w := wirePath(path)
	s.setPhase(storing)
	conn, err := s.transfer(s.rang(off, int64(len(p))), "STOR "+w, "STAT F "+w)
	if err != nil {
		return err
	}
	s.unsettled = path
	m := s.start(conn, func(conn net.Conn, m *moved) error { return writeFull(conn, p, s.stall, m) })
	if err := s.begin(m, -1); err != nil {
		return s.after(err)
	}
	if err := s.finish(m); err != nil {
		return s.after(err)
	}
	s.unsettled = ""
	st, err := s.ctl.readReply()
	if err != nil {
		s.cancel(m)
		return err
	}
	if !m.settled(settleTime) {
		// The server stopped reading early.
		s.cancel(m)
	}
	s.sent.Add(m.n.Load())
	if m.err != nil {
		return lost(m.err)
	}
	if !s.keepAlive {
		s.dropData()
	}
	if i, ok := statInfo(st); ok && i.Size < off+int64(len(p)) {
		return fmt.Errorf("%w: file ends at %d after writing up to %d", ErrUnavailable, i.Size, off+int64(len(p)))
	}
	return nil
}

// after reads the reply to the command that was sent behind a refused transfer.
func (s *session) after(err error) error {
	if isRefusal(err) {
		if _, rerr := s.ctl.readReply(); rerr != nil {
			return rerr
		}
	}
	return err
}

// statInfo returns what a reply to STAT F says.
func statInfo(r reply) (Info, bool) {
	if r.code != 211 || len(r.body) != 1 {
		return Info{}, false
	}
	return parseStatLine(r.body[0])
}

// create makes an empty file, or an existing one empty, and tells what it is
// then.
func (s *session) create(path string) (Info, error) {
	s.setPhase(storing)
	if _, err := s.transfer(append([]string{noRange, "ALLO 0", "STOR " + wirePath(path)}, statCommands(path)...)...); err != nil {
		return Info{}, err
	}
	s.unsettled = path
	var first error
	var stor reply
	for _, code := range []int{350, 200, 150} {
		var err error
		if stor, err = s.ctl.readReply(); err != nil {
			return Info{}, err
		}
		if err := stor.want(code); err != nil && first == nil {
			first = err
		}
	}
	if first != nil && stor.code == 150 {
		// Which file it empties is anyone's guess: no refusal, which would keep the session.
		return Info{}, fmt.Errorf("%w: %s", ErrProtocol, first.Error())
	}
	if first == nil {
		end, err := s.ctl.readReply()
		if err != nil {
			return Info{}, err
		}
		first = end.want(226)
		if first != nil || !s.keepAlive {
			s.dropData()
		}
	} // else nothing was sent: the data connection is as good as before
	stat, err := s.ctl.readReply()
	if err != nil {
		return Info{}, err
	}
	mlst, err := s.ctl.readReply()
	if err != nil {
		return Info{}, err
	}
	info, _, err := s.described(path, stat, mlst)
	if first != nil {
		err = first
	}
	return info, err
}
