package uftp

import (
	"context"
	"fmt"
	"net"
)

// A WriteRange is a piece of a file to be written.
type WriteRange struct {
	Off  int64
	Data []byte // not empty; the client's until WriteRanges returns
}

func (r WriteRange) end() int64 { return r.Off + int64(len(r.Data)) }

// opWrite is the Op of errors of writing.
const opWrite = "write"

// maxGroup bounds the ranges that are on their way in one session: the server
// must never have more commands than its socket holds while it waits for data.
const maxGroup = 64

// WriteRanges writes pieces of one file like [Client.WriteAt], without waiting in
// between, and tells what the file is then: as [Client.Fetch] does. Pieces may not
// overlap. After an error each of them may hold anything, also bytes meant for
// another, until it is written again.
func (c *Client) WriteRanges(ctx context.Context, path string, parts []WriteRange) (after Info, err error) {
	b := &batch{parts: make([]part, len(parts))}
	for i, p := range parts {
		b.parts[i] = part{off: p.Off, n: int64(len(p.Data)), data: p.Data}
	}
	return c.upload(ctx, path, b)
}

// A WriteSpan is a place in a file.
type WriteSpan struct{ Off, Len int64 } // bytes; Len is positive

// WriteFrom is [Client.WriteRanges] for bytes that are elsewhere: fill, which is
// called from other goroutines but not after WriteFrom has returned, gives those
// at an offset when they are sent, a piece of a span at a time and in order; from
// the beginning of a span if that must be sent again. An error of fill is final.
func (c *Client) WriteFrom(ctx context.Context, path string, spans []WriteSpan, fill func(p []byte, off int64) error) (after Info, err error) {
	b := &batch{parts: make([]part, len(spans)), fill: fill}
	for i, sp := range spans {
		b.parts[i] = part{off: sp.Off, n: sp.Len}
	}
	return c.upload(ctx, path, b)
}

// writeRanges writes parts in groups.
func (s *session) writeRanges(path string, parts []WriteRange) (after Info, err error) {
	if len(parts) == 0 {
		return s.look(path)
	}
	if s.codec != nil || !s.keepAlive {
		return s.writeSingly(path, parts)
	}
	for len(parts) > 0 && err == nil {
		group := parts[:min(len(parts), maxGroup)]
		parts = parts[len(group):]
		after, err = s.writeGroup(path, group)
	}
	return after, err
}

// writeSingly is writeRanges where a data connection takes one transfer.
func (s *session) writeSingly(path string, parts []WriteRange) (Info, error) {
	for _, p := range parts {
		write := s.writeAt
		if s.codec != nil {
			write = s.writeCoded
		}
		if err := write(path, p.Data, p.Off); err != nil {
			return Info{}, err
		}
	}
	return s.look(path)
}

// writeGroup sends the commands for all parts in one packet and their bytes back
// to back. A STOR that is refused leaves its bytes for the next one, so with
// several parts the bytes wait for the word that the first STOR is not. When a
// later one fails all the same, somebody else changed the file meanwhile; then
// all parts count as failed and the data connection, with what is left in it, is
// dropped. What the server has put in a wrong place by then lies within parts.
func (s *session) writeGroup(path string, parts []WriteRange) (Info, error) {
	w := wirePath(path)
	cmds := make([]string, 0, 2*len(parts)+1)
	var end int64
	for _, p := range parts {
		cmds = append(cmds, s.rang(p.Off, int64(len(p.Data))), "STOR "+w)
		end = max(end, p.end())
	}
	s.setPhase(storing)
	conn, err := s.transfer(append(cmds, "STAT F "+w)...)
	if err != nil {
		return Info{}, err
	}
	s.unsettled = path
	t := &groupTransfer{s: s, conn: conn, parts: parts}
	if len(parts) == 1 {
		t.start()
	}
	for range parts {
		if err := t.replies(); err != nil {
			t.drop()
			return Info{}, err
		}
	}
	s.unsettled = ""
	st, err := s.ctl.readReply()
	if err != nil {
		t.drop()
		return Info{}, err
	}
	if err := t.end(); err != nil {
		return Info{}, err
	}
	if err := st.want(211); err != nil {
		return Info{}, err
	}
	after, ok := statInfo(st)
	if !ok || after.Size < end {
		return Info{}, fmt.Errorf("%w: file ends at %d after writing up to %d", ErrUnavailable, after.Size, end)
	}
	return after, nil
}

// groupTransfer is the state of a writeGroup.
type groupTransfer struct {
	s      *session
	conn   net.Conn
	parts  []WriteRange
	m      *moved // nil before the first byte
	failed error  // the first refusal
}

// start begins to send the bytes of all parts.
func (t *groupTransfer) start() {
	t.m = t.s.start(t.conn, func(conn net.Conn, m *moved) error {
		for _, p := range t.parts {
			if err := writeFull(conn, p.Data, t.s.stall, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// drop closes the data connection and waits for who writes to it.
func (t *groupTransfer) drop() {
	t.s.dropData()
	if t.m != nil {
		<-t.m.done
	}
}

// refuse notes a refusal. The bytes that are on their way have no place any more.
func (t *groupTransfer) refuse(err error) {
	if t.failed == nil {
		t.failed = err
		t.drop()
	}
}

// replies reads what the server says of one part. Its error is the session's.
func (t *groupTransfer) replies() error {
	rang, err := t.s.ctl.readReply()
	if err != nil {
		return err
	}
	if rang.code != 350 {
		// No range: what STOR does now is not what was asked for.
		return fmt.Errorf("%w: range refused (%d: %s)", ErrProtocol, rang.code, rang.text)
	}
	stor, err := t.s.ctl.readReply()
	if err != nil {
		return err
	}
	if err := stor.want(150); err != nil {
		if !isRefusal(err) {
			return err
		}
		t.refuse(err)
		return nil
	}
	if t.m == nil && t.failed == nil {
		t.start()
	}
	end, err := t.s.ctl.readReply()
	if err != nil {
		return err
	}
	if err := end.want(226); err != nil {
		if !isRefusal(err) {
			return err
		}
		t.refuse(err)
	}
	return nil
}

// end ends the transfer after all replies.
func (t *groupTransfer) end() error {
	if t.m != nil && t.failed == nil && !t.m.settled(settleTime) {
		t.drop() // the server stopped reading early
	}
	if t.m != nil {
		t.s.sent.Add(t.m.n.Load())
	}
	switch {
	case t.failed != nil:
		return t.failed
	case t.m.err != nil:
		return lost(t.m.err)
	}
	return nil
}
