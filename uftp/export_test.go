package uftp

import (
	"context"
	"net"
	"testing"
	"time"
)

// SetLateTime sets how long a client waits for late writes of lost sessions.
func SetLateTime(c *Client, d time.Duration) { c.dialer.late.patience = d }

// SetStall sets the longest silence of a server; IOTimeout stays what it is.
func SetStall(c *Client, d time.Duration) { c.dialer.stall = d }

// SetFinishTime sets how long an operation goes on whose context ended.
func SetFinishTime(c *Client, d time.Duration) { c.dialer.linger = d }

// QuickAck asks the kernel not to delay the next acknowledgement.
func QuickAck(conn net.Conn) { quickAck(conn) }

// AwaitGivenUp returns when a lane of c's writer has been told that the caller of
// one of its batches gave up.
func AwaitGivenUp(tb testing.TB, c *Client) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		c.writer.mu.Lock()
		for _, f := range c.writer.files {
			for _, l := range f.lanes {
				if l.bad != 0 {
					c.writer.mu.Unlock()
					return
				}
			}
		}
		c.writer.mu.Unlock()
		if time.Now().After(deadline) {
			tb.Fatal("no batch was given up")
		}
	}
}

// Questions returns how many questions nobody has asked yet.
func Questions(c *Client) int {
	c.questions.mu.Lock()
	defer c.questions.mu.Unlock()
	return len(c.questions.waiting)
}

// Borrow takes a session from c's pool and gives it back.
func Borrow(ctx context.Context, c *Client) error {
	s, err := c.pool.acquire(ctx, false, 0)
	if err == nil {
		c.pool.release(s)
	}
	return err
}

// AwaitOpened returns when c opens no session.
func AwaitOpened(tb testing.TB, c *Client) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		c.pool.mu.Lock()
		n := c.pool.opening
		c.pool.mu.Unlock()
		switch {
		case n == 0:
			return
		case time.Now().After(deadline):
			tb.Fatalf("%d sessions are still being opened", n)
		}
	}
}

// DataConnections counts those of all sessions.
func DataConnections(c *Client) (n int) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for s := range c.pool.all {
		if s.hasData() {
			n++
		}
	}
	return n
}
