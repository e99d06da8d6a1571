package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"
)

// An operation is tried again, on another session, when the failure was the
// connection's or the session limit's and not the server's answer:
//
//   - Operations that may run twice (Stat, List, ReadAt, WriteAt, Truncate's
//     steps, Hash, SetAttr) are simply repeated. WriteAt writes the same
//     bytes to the same place.
//   - The others (Create, Mkdir, Rmdir, Remove, Rename) are repeated if the
//     command was certainly not sent. If it was, and the reply was lost, the
//     server is asked first whether it is done: Mkdir is done when the directory
//     exists, Create when the file exists and is empty, Rmdir and Remove when
//     the name is gone, Rename when the old name is gone and the new one exists.
//     Somebody else may have done the same at that moment; the caller then hears
//     success for what is, after all, the state asked for.
//   - Of many changes in a packet (RemoveSome, MkdirSome, SetAttrSome) those whose
//     replies were lost are made again; what is gone then, or is a directory by
//     then, was done.
//   - A stream (Get, Put) is repeated only until its first byte.
//
// A session that got out of step (ErrProtocol) is worth a second attempt, on a
// new one, but no third.
//
// An upload is repeated, and other changes of the file's content wait, until the
// server's process of the lost session is gone; see lateWrites.
//
// Waiting for a session and for better times is bounded by the caller's context
// and by IOTimeout, counted from the start of the operation, or from when the
// server was found to be away: see outage. A transfer that makes progress is not:
// it ends when nothing moved for a quarter of IOTimeout.

// retryable reports whether err may go away by itself.
func retryable(err error) bool {
	if _, ok := errors.AsType[*final](err); ok {
		return false
	}
	return (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)) && !errors.Is(err, ErrUntrusted)
}

// outOfStep reports whether a session, not an operation, failed in a way that
// the protocol does not know.
func outOfStep(err error) bool {
	var f *final
	return errors.Is(err, ErrProtocol) && !isRefusal(err) && !errors.As(err, &f)
}

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 3 * time.Second
)

// backoff returns how long to wait after the n-th failure in a row, from 0.
func backoff(n int) time.Duration {
	d := min(maxPause, firstPause<<min(n, 10))
	return d/2 + rand.N(d/2) //nolint:gosec // jitter needs no secrecy
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// operation describes one operation to run.
type operation struct {
	name, path string
	data       bool // wants a session with a data connection, if there is one
	writes     bool // changes something: refused by a client that only reads
	// settled is set for operations that must not run twice: it reports whether
	// the operation was done by an attempt whose reply got lost.
	settled func(*session) (bool, error)
	// fills is the clean path of the file whose content the operation changes, or
	// which it renames.
	fills  string
	steady bool // once begun, an attempt is not cut short by the caller's context
	keep   bool // a successful attempt keeps its session
	bulk   bool // moves much: leaves a session to others
}

var errReadOnly = fmt.Errorf("%w (%w)", fs.ErrPermission, linuxErrno[30])

// do runs op until it succeeds, is refused, or time is up.
func (c *Client) do(ctx context.Context, op operation, run func(*session) error) error {
	if op.writes && c.cfg.ReadOnly {
		return wrapError(op.name, op.path, errReadOnly)
	}
	wait, cancel := context.WithTimeout(ctx, c.cfg.IOTimeout)
	defer cancel()
	var unsure bool // an attempt may have done it
	for n := 0; ; n++ {
		var s *session
		if op.fills != "" {
			c.dialer.seen.forget(op.fills)
		}
		err := c.dialer.late.wait(wait, op.fills)
		if err == nil {
			s, err = c.session(wait, op)
		}
		if err != nil && wait.Err() != nil && ctx.Err() == nil && !retryable(err) {
			err = fmt.Errorf("%w: no session within %v", ErrUnavailable, c.cfg.IOTimeout)
		}
		if err == nil {
			runCtx := ctx
			if op.steady {
				runCtx = context.WithoutCancel(ctx)
			}
			err = s.run(runCtx, func() error { return attempt(s, op, unsure, run) })
			unsure = unsure || err != nil && !isRefusal(err) && s.ctl.sent
			if err != nil || !op.keep {
				c.pool.release(s)
			}
		}
		if err == nil {
			return nil
		}
		again := retryable(err) || n == 0 && outOfStep(err)
		if !again || ctx.Err() != nil {
			return wrapError(op.name, op.path, err)
		}
		c.retries.Add(1)
		if pause(wait, backoff(n)) != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w (%w)", ctx.Err(), err)
			}
			return wrapError(op.name, op.path, err)
		}
	}
}

// session lends a session for op.
func (c *Client) session(ctx context.Context, op operation) (*session, error) {
	if op.bulk {
		return c.pool.acquireBulk(ctx, false)
	}
	return c.pool.acquire(ctx, op.data, 0)
}

// attempt runs op once on s. If unsure, an earlier attempt may have done it.
func attempt(s *session, op operation, unsure bool, run func(*session) error) error {
	if op.settled == nil || !unsure {
		return run(s)
	}
	done, err := op.settled(s)
	if done || err != nil {
		return err
	}
	err = run(s)
	if isRefusal(err) {
		// The lost command may have been late.
		if done, serr := op.settled(s); done || serr != nil {
			return serr
		}
	}
	return err
}
