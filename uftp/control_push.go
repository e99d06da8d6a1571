package uftp

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"
)

// uftpd writes each reply in small pieces and leaves Nagle's algorithm on: of all
// that answers a packet of commands the first piece is sent at once, and the rest
// when we have acknowledged it, a round trip later. Only whole segments do not
// wait. So where the server is far away, commands whose replies somebody waits for
// are followed by a push: RANGs with numbers of so many digits that the replies,
// which repeat them, fill a segment, and one that takes the range back. Those
// replies are nobody's, and what of them is still on its way when an operation ends
// is read before the replies of the next.
const (
	// pushTrip is the round trip from which on a push pays.
	pushTrip = 3 * time.Millisecond
	// pushDigits is how long a number may be: Python reads none of more than 4300
	// digits.
	pushDigits = 4000
	// maxSegment is the longest segment that is worth filling. On a longer one, as
	// this machine's loopback has, nothing is far away.
	maxSegment = 3 * pushDigits
)

// pusher makes the pushes of a control connection. The zero value makes none.
type pusher struct {
	cmds    []byte
	replies int          // lines that answer cmds
	useless *atomic.Bool // the server does not take such numbers

	next  int // lines that will answer the push in the next packet that is written
	later int // the same of the last one
	owed  int // lines that come before the replies to the last packet
}

// newPusher is for a connection on which the server sends segments of so many
// bytes, 0 if that is not known.
func newPusher(segment int, useless *atomic.Bool) pusher {
	if segment <= 0 || segment > maxSegment {
		return pusher{}
	}
	var cmds strings.Builder
	n := 1
	for ; segment > 0; segment -= pushDigits {
		cmds.WriteString("RANG 1 1" + strings.Repeat("0", min(segment, pushDigits)-1) + "\r\n")
		n++
	}
	cmds.WriteString(noRange + "\r\n")
	return pusher{cmds: []byte(cmds.String()), replies: n, useless: useless}
}

// push returns what to send behind commands, nil if nothing is gained by it, and
// how many lines will answer it.
func (c *control) push() (cmds []byte, replies int) {
	if c.cmds == nil || c.useless.Load() || c.trip == nil || c.trip.get() < pushTrip {
		return nil, 0
	}
	return c.cmds, c.replies
}

// pushed appends a push to a packet that is sent next, all replies to which are
// read before another one is sent.
func (c *control) pushed(packet []byte) []byte {
	cmds, n := c.push()
	c.next = n
	return append(packet, cmds...)
}

// written notes that a packet is written: what is owed comes before its replies.
func (p *pusher) written() {
	p.owed += p.later
	p.later, p.next = p.next, 0
}

// took notes one line of the reply to a push.
func (p *pusher) took(line []byte) {
	if !bytes.HasPrefix(line, []byte("350")) {
		p.useless.Store(true)
	}
}

// skipOwed reads the replies to pushes that come before what is read next.
func (c *control) skipOwed() error {
	for c.owed > 0 {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return lost(err)
		}
		c.owed--
		c.took(line)
	}
	return nil
}

// atRest reports, without waiting, that the connection is open and nothing has
// come that nobody expects. What is left of a push may come.
func (c *control) atRest() bool {
	for c.owed, c.later = c.owed+c.later, 0; c.owed > 0; {
		buf, _ := c.br.Peek(c.br.Buffered())
		if i := bytes.IndexByte(buf, '\n'); i >= 0 {
			c.took(buf[:i])
			_, _ = c.br.Discard(i + 1) // which is there
			c.owed--
			continue
		}
		if quiet(c.Conn) {
			return true
		}
		if _, err := c.br.Peek(len(buf) + 1); err != nil {
			return false
		}
	}
	return c.br.Buffered() == 0 && quiet(c.Conn)
}
