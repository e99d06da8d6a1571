package uftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// putBatch is how many files' commands go in one packet.
const putBatch = 16

// putGroup puts the files of a group that are not over. An error is the
// session's; what was wrong with a file, it has been told. Files that are neither
// over nor to blame must be put again.
//
// All commands go out at once and all bytes after them. A STOR that is refused
// leaves its bytes for the next one, and so what follows is in doubt: it has not
// got its name yet. That is given in a second packet to what was checked.
func (s *session) putGroup(c *Client, group []*putItem) error {
	if group = unfinished(group); len(group) == 0 {
		return nil // another attempt, after the last one was over with all of them
	}
	if err := s.storeGroup(c, group); err != nil {
		return err
	}
	if err := s.retime(c, group); err != nil {
		return err
	}
	return s.nameGroup(group)
}

// putCommands are what is said of one file. There is a reply to each, and two to
// STOR.
func putCommands(it *putItem) []string {
	w := wirePath(it.part)
	cmds := []string{noRange, fmt.Sprint("ALLO ", len(it.Data)), "STOR " + w}
	if it.SetMode {
		cmds = append(cmds, fmt.Sprintf("MFF UNIX.mode=%o; %s", unixPerm(it.Mode), w))
	}
	if !it.ModTime.IsZero() {
		cmds = append(cmds, mfmtCommand(it, w))
	}
	cmds = append(cmds, "STAT F "+w)
	if it.Hash != "" {
		cmds = append(cmds, "OPTS HASH "+it.Hash, "HASH "+w)
	}
	return cmds
}

func mfmtCommand(it *putItem, w string) string {
	return "MFMT " + time.Unix(it.ModTime.Unix()+it.zone, 0).UTC().Format(localLayout) + " " + w
}

// storeGroup writes the files under their Parts.
func (s *session) storeGroup(c *Client, group []*putItem) error {
	s.setPhase(storing)
	var packets [][]byte
	for at := 0; at < len(group); at += putBatch {
		var cmds []string
		for _, it := range group[at:min(at+putBatch, len(group))] {
			it.stored, it.late, it.zone = false, false, c.zone.Load()
			cmds = append(cmds, putCommands(it)...)
		}
		packets = append(packets, packet(cmds...))
	}
	conn, err := s.transferPacket(packets[0])
	if err != nil {
		return err
	}
	for _, it := range group {
		it.started = true
		s.unsettledToo = append(s.unsettledToo, it.part)
	}
	t := &putTransfer{s: s, c: c, group: group, sent: make(chan struct{})}
	t.m = s.start(conn, func(conn net.Conn, m *moved) error {
		for _, it := range group {
			if err := writeFull(conn, it.Data, s.stall, m); err != nil {
				return err
			}
		}
		return nil
	})
	// The server reads commands while it is sent data, and is read from meanwhile.
	go func() {
		defer close(t.sent)
		for _, p := range packets[1:] {
			if t.sendErr = s.ctl.sendAhead(p); t.sendErr != nil {
				return
			}
		}
	}()
	err = t.run()
	if err != nil {
		_ = s.ctl.SetWriteDeadline(time.Now()) // whoever sends commands to nobody stops
		s.dropData()
	}
	<-t.sent
	<-t.m.done
	s.sent.Add(t.m.n.Load())
	if err == nil {
		s.unsettledToo = nil
		err = t.sendErr
	}
	return err
}

// putTransfer is the state of a storeGroup.
type putTransfer struct {
	s       *session
	c       *Client
	group   []*putItem
	m       *moved
	sent    chan struct{}
	sendErr error // once sent is closed
	doubt   bool  // a STOR was refused: what follows may have others' bytes
}

func (t *putTransfer) run() error {
	for _, it := range t.group {
		if err := t.replies(it); err != nil {
			return err
		}
	}
	if !t.doubt && !t.m.settled(settleTime) {
		t.s.dropData() // the server stopped reading early
	}
	return nil
}

// replies reads what the server says of one file.
func (t *putTransfer) replies(it *putItem) error {
	for _, code := range []int{350, 200} {
		r, err := t.s.ctl.readReply()
		if err != nil {
			return err
		}
		if r.code != code {
			// No length: what STOR does now is not what was asked for.
			return fmt.Errorf("%w: %d expected, not %d: %.200s", ErrProtocol, code, r.code, r.text)
		}
	}
	failed, certain, err := t.stor()
	if err != nil {
		return err
	}
	info, other, err := t.attributes(it)
	if err != nil {
		return err
	}
	corrupt, err := t.sum(it)
	if err != nil {
		return err
	}
	if other == nil && info.Size == int64(len(it.Data)) {
		other = corrupt
	}
	t.judge(it, failed, certain, info, other)
	return nil
}

// judge decides about a file: failed is what was said to STOR, other to what came
// after it.
func (t *putTransfer) judge(it *putItem, failed error, certain bool, info Info, other error) {
	switch {
	case failed != nil && certain:
		it.fail(failed)
	case failed != nil || t.doubt: // again
	case other != nil:
		it.fail(other)
	case info.Size != int64(len(it.Data)): // again
		t.doubts()
	default:
		it.stored = true
		it.timed(t.c, info.ModTime)
	}
}

// stor reads the replies to STOR. A failure is certain if it says what is wrong
// with this file, whatever was sent before it.
func (t *putTransfer) stor() (failed error, certain bool, err error) {
	for _, code := range []int{150, 226} {
		r, err := t.s.ctl.readReply()
		if err != nil {
			return nil, false, err
		}
		failed := r.want(code)
		switch {
		case failed == nil:
			continue
		case !isRefusal(failed):
			return nil, false, failed
		}
		certain := aboutFile(failed) && (code == 150 || !t.doubt)
		t.doubts()
		return failed, certain, nil
	}
	return nil, false, nil
}

// doubts says that bytes have gone astray. Those that are on their way have no
// place any more.
func (t *putTransfer) doubts() {
	if !t.doubt {
		t.doubt = true
		t.s.dropData()
	}
}

// timed compares the time that a file has got, and learns from it.
func (it *putItem) timed(c *Client, got time.Time) {
	if it.ModTime.IsZero() {
		return
	}
	diff := it.ModTime.Unix() - got.Unix()
	it.late = diff != 0
	it.zone += diff
	if it.zone > -maxZone && it.zone < maxZone {
		c.zone.Store(it.zone)
	}
}

// aboutFile reports whether a refusal is a word about a file, and not about a
// connection or a server that goes down.
func aboutFile(err error) bool {
	for _, cause := range []error{
		fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrExist, syscall.EISDIR, syscall.ENOTDIR, syscall.ELOOP,
		syscall.ENAMETOOLONG, syscall.EFBIG, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ETXTBSY,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// attributes reads the replies to what comes after STOR. The first error is about
// the file, the other one is the session's.
func (t *putTransfer) attributes(it *putItem) (info Info, failed, err error) {
	n := 0
	if it.SetMode {
		n++
	}
	if !it.ModTime.IsZero() {
		n++
	}
	for range n {
		r, err := t.s.ctl.readReply()
		if err != nil {
			return Info{}, nil, err
		}
		if err := r.want(213); err != nil && failed == nil {
			failed = err
		}
	}
	st, err := t.s.ctl.readReply()
	if err != nil {
		return Info{}, nil, err
	}
	info, serr := infoOf(st)
	if failed == nil {
		failed = serr
	}
	if failed != nil && !isRefusal(failed) {
		return Info{}, nil, failed
	}
	return info, failed, nil
}

// sum reads the replies about the hash. The first error is about the file, the
// other one is the session's.
func (t *putTransfer) sum(it *putItem) (failed, err error) {
	if it.Hash == "" {
		return nil, nil
	}
	for _, code := range []int{200, 213} {
		r, err := t.s.ctl.readReply()
		if err != nil {
			return nil, err
		}
		if err := r.want(code); failed == nil && err != nil {
			failed = err
		}
		if failed == nil && code == 213 {
			sum, err := hashIn(r, it.Hash)
			if err != nil {
				return nil, err
			}
			failed = it.corrupt(sum)
		}
	}
	return failed, nil
}

// retime sets times again where the server's local time was another than we
// thought: at another time of the year it is.
func (s *session) retime(c *Client, group []*putItem) error {
	for range 2 {
		var late []*putItem
		var cmds []string
		for _, it := range group {
			if !it.stored || !it.late {
				continue
			}
			late = append(late, it)
			w := wirePath(it.part)
			cmds = append(cmds, mfmtCommand(it, w), "STAT F "+w)
		}
		if len(late) == 0 {
			return nil
		}
		if err := s.setTimes(c, late, cmds); err != nil {
			return err
		}
	}
	for _, it := range group {
		if it.stored && it.late {
			it.stored = false
			it.fail(&refusal{msg: noInstant, cause: errors.ErrUnsupported})
		}
	}
	return nil
}

// setTimes sends the commands, which are MFMT and STAT for each, and looks at the
// times.
func (s *session) setTimes(c *Client, late []*putItem, cmds []string) error {
	replies, err := s.exchange(cmds...)
	if err != nil {
		return err
	}
	for i, it := range late {
		r := replies[2*i : 2*i+2]
		if err := firstRefusal(r, 213, 211); err != nil {
			it.stored = false
			it.fail(err)
			continue
		}
		got, err := epochOf(r[1])
		if err != nil {
			return err
		}
		it.timed(c, got)
	}
	return nil
}

// nameGroup gives the files that are there their names.
func (s *session) nameGroup(group []*putItem) error {
	for at := 0; at < len(group); {
		var named []*putItem
		var cmds []string
		for ; at < len(group) && len(named) < maxGroup; at++ {
			if it := group[at]; it.stored && !it.over {
				named = append(named, it)
				cmds = append(cmds, "RNFR "+wirePath(it.part), "RNTO "+wirePath(it.path))
			}
		}
		if len(named) == 0 {
			return nil
		}
		s.renamed = true
		replies, err := s.exchange(cmds...)
		if err != nil {
			return err
		}
		for i, it := range named {
			from, to := replies[2*i].want(350), replies[2*i+1].want(2)
			switch {
			case from != nil && !isRefusal(from):
				return from
			case to != nil && !isRefusal(to):
				return to
			case from != nil:
				it.fail(from)
			case to != nil:
				it.fail(to)
			default:
				it.over = true
				s.seen.forget(it.path)
			}
		}
	}
	return nil
}
