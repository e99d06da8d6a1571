package uftp

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const outagePatience = 5 * time.Minute

// broken is a server that can be away, asked by a pool.
type broken struct {
	*pool
	t     *testing.T
	err   atomic.Pointer[error] // of the server
	asked atomic.Int32
}

func newBroken(t *testing.T) *broken {
	b := &broken{t: t}
	b.pool = poolOf(t, 4, func(int) error {
		b.asked.Add(1)
		return *b.err.Load()
	})
	b.outage.patience = outagePatience
	b.is(ErrUnavailable)
	return b
}

func (b *broken) is(err error) { b.err.Store(&err) }

// wantAway borrows as an operation does that waits for as long as the client's
// patience, and wants to hear that the server is away, after at least and at most
// some time.
func (b *broken) wantAway(least, most time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), outagePatience)
	defer cancel()
	start := time.Now()
	_, err := b.acquire(ctx, false, 0)
	if !errors.Is(err, ErrUnavailable) {
		b.t.Errorf("error %v", err)
	}
	if d := time.Since(start); d < least || d > most {
		b.t.Errorf("failed after %v, want %v to %v", d, least, most)
	}
	if retryable(err) && ctx.Err() == nil {
		b.t.Errorf("to be tried again: %v", err)
	}
}

// wantSession borrows a session, and loses it.
func (b *broken) wantSession() {
	b.t.Helper()
	s, err := b.acquire(b.t.Context(), false, 0)
	if err != nil {
		b.t.Error(err)
		return
	}
	s.abort()
	b.release(s)
}

func (b *broken) pass(d time.Duration) { _ = pause(b.t.Context(), d) }

// TestOutage: an operation that begins late in an outage does not wait for as long
// as one that began with it; when the outage has lasted for that long, nobody
// waits. The server is asked all the same, but not by everybody.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t)
		go b.wantAway(outagePatience, outagePatience)
		b.pass(4 * time.Minute)
		b.wantAway(time.Minute-time.Second, time.Minute+2*maxPause)
		before := b.asked.Load()
		for range 60 {
			b.wantAway(0, 0)
			b.pass(time.Second)
		}
		if n := b.asked.Load() - before; n < 10 || n > 20 {
			t.Errorf("the server was asked %d times in a minute", n)
		}

		// It is back. Whoever comes has it looked at.
		b.is(nil)
		b.pass(maxPause)
		b.wantAway(0, 0)
		b.pass(time.Second)
		b.wantSession()

		// The next outage is another one.
		b.is(ErrUnavailable)
		b.wantAway(outagePatience, outagePatience)
	})
}

// TestOutageNews: what was true long ago is no reason to fail, nor is it a part of
// an outage of today.
func TestOutageNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t)
		b.wantAway(outagePatience, outagePatience)
		b.wantAway(0, maxPause)
		b.pass(newsTime)
		b.wantAway(time.Millisecond, time.Millisecond) // one attempt
		b.pass(newsTime)
		b.is(nil)
		b.wantSession()

		b.is(ErrUnavailable)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.acquire(ctx, false, 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		b.pass(time.Hour)
		b.wantAway(outagePatience, outagePatience)
	})
}

// TestBusyIsNoOutage: a server that says that all sessions are in use is there.
func TestBusyIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t)
		b.is(ErrBusy)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), outagePatience)
			if _, err := b.acquire(ctx, false, 0); !errors.Is(err, ErrBusy) || ctx.Err() == nil {
				t.Errorf("error %v", err)
			}
			cancel()
		}
		b.is(ErrUnavailable)
		b.wantAway(outagePatience, outagePatience)
		b.is(ErrBusy)
		b.pass(newsTime)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.acquire(ctx, false, 0); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v", err)
		}
		b.is(ErrUnavailable)
		b.wantAway(outagePatience, outagePatience)
	})
}

// TestOutageConnect: who is impatient is told what this attempt brought.
func TestOutageConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t)
		b.wantAway(outagePatience, outagePatience)
		b.is(nil)
		s, err := b.acquire(t.Context(), false, busyPatience)
		if err != nil {
			t.Fatal(err)
		}
		b.release(s)
	})
}

// TestOperationsInOutage: all kinds of operations fail at once when the server has
// been away for as long as they would wait.
func TestOperationsInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{
			Login: &Login{Host: "server", Port: 1, Password: "p"}, IOTimeout: outagePatience,
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route to host") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		large := make([]byte, 4*pipeFrom)
		operations := map[string]func(context.Context) error{
			"stat":  func(ctx context.Context) error { _, err := c.Stat(ctx, "f"); return err },
			"list":  func(ctx context.Context) error { _, err := c.List(ctx, "d"); return err },
			"read":  func(ctx context.Context) error { _, err := c.ReadAt(ctx, "f", large, 0); return err },
			"write": func(ctx context.Context) error { _, err := c.WriteAt(ctx, "f", large, 0); return err },
			"small": func(ctx context.Context) error { _, err := c.WriteAt(ctx, "f", large[:1], 0); return err },
			"mkdir": func(ctx context.Context) error { return c.Mkdir(ctx, "d") },
		}
		if err := operations["stat"](t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("the first one: %v", err)
		}
		for name, run := range operations {
			start := time.Now()
			if err := run(t.Context()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			} else {
				t.Log(err)
			}
			if d := time.Since(start); d > maxPause {
				t.Errorf("%s failed after %v", name, d)
			}
		}
	})
}
