package uftp

import (
	"context"
	"fmt"
	"io/fs"
	"sync/atomic"
)

// List returns the entries of a directory, in no order, with exact times and
// modes. Names that the protocol cannot carry, and links that lead nowhere, are
// left out. One round trip where there is a data connection, two otherwise,
// whatever the size. Another session that is there does half of the work. After
// a short listing another one is expected, which takes two round trips and no data
// connection.
func (c *Client) List(ctx context.Context, dir string) ([]Info, error) {
	p, err := cleanPath(dir)
	if err != nil {
		return nil, wrapError(opList, dir, err)
	}
	var entries []Info
	err = c.do(ctx, operation{name: opList, path: dir}, func(s *session) error {
		if s.codec != nil || c.short.Load() {
			entries, err = s.listShort(p)
		} else {
			entries, err = c.list(ctx, s, p)
		}
		if err == nil {
			c.short.Store(len(entries) <= shortListing)
		}
		return err
	})
	return entries, err
}

// Listing is what List returns.
type Listing struct {
	Entries []Info
	Err     error
}

// ListSome is List for several directories, one to MaxListSome, that are believed to
// have few entries each: all of them take two round trips. The error is that of all,
// and those of the listings are the server's word.
func (c *Client) ListSome(ctx context.Context, dirs []string) ([]Listing, error) {
	if len(dirs) == 0 || len(dirs) > MaxListSome {
		return nil, wrapError(opList, "", fmt.Errorf("%w: %d directories", fs.ErrInvalid, len(dirs)))
	}
	paths := make([]string, len(dirs))
	for i, dir := range dirs {
		p, err := cleanPath(dir)
		if err != nil {
			return nil, wrapError(opList, dir, err)
		}
		paths[i] = p
	}
	var listings []Listing
	err := c.do(ctx, operation{name: opList, path: dirs[0]}, func(s *session) (err error) {
		listings, err = s.listSome(paths)
		return err
	})
	for i := range listings {
		listings[i].Err = wrapError(opList, dirs[i], listings[i].Err)
	}
	return listings, err
}

// MaxListSome is how many directories may be listed together: what is sent ahead of
// all replies has to fit in a connection.
const MaxListSome = 16

// opList is the Op of errors of List.
const opList = "list"

// manyEntries is how long a listing may be for which no other session is asked for.
const manyEntries = 200

// sessionsForTwo is how many sessions there may have to be for a listing to take
// two: one is for who asks something meanwhile.
const sessionsForTwo = 3

// list reads a directory on s, and half of it on another session if there is one
// or a long listing is worth one. What goes wrong there is done on s.
func (c *Client) list(ctx context.Context, s *session, path string) ([]Info, error) {
	if c.pool.limit.Load() < sessionsForTwo {
		return s.list(path)
	}
	other := c.pool.spareOne()
	if other == nil && c.RoundTrip() >= pushTrip {
		return s.list(path) // the second half costs no round trip there
	}
	j := newModesJob(ctx, c, path)
	defer j.stop()
	if other != nil {
		j.start(other)
	}
	var h halves
	err := s.listTimes(path, &h, func(entries int) {
		if entries == manyEntries {
			j.start(nil)
		}
	})
	if err != nil {
		return nil, err
	}
	if !j.collect(&h) {
		if err := s.listModes(path, &h); err != nil {
			return nil, err
		}
	}
	return s.joined(path, &h)
}

// modesJob gets the modes of a listing on a session of its own.
type modesJob struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	path   string
	begun  atomic.Bool // set by the job when it has a session, or by who does not wait for that
	done   chan struct{}
	h      halves
	err    error
}

func newModesJob(ctx context.Context, c *Client, path string) *modesJob {
	j := &modesJob{c: c, path: path}
	j.ctx, j.cancel = context.WithCancel(ctx)
	return j
}

// start begins with a session, nil for one that has to be had first, once.
func (j *modesJob) start(s *session) {
	if j.done != nil {
		return
	}
	j.done = make(chan struct{})
	go func() { // ends with stop at the latest
		defer close(j.done)
		if s == nil {
			if s, j.err = j.c.pool.acquireSpare(j.ctx); j.err != nil {
				return
			}
		}
		defer func() { j.c.pool.release(s) }()
		if j.begun.CompareAndSwap(false, true) {
			j.err = s.run(j.ctx, func() error { return s.listModes(j.path, &j.h) })
		}
	}()
}

// collect waits for the modes, unless the job has not begun yet, and reports
// whether they are in h.
func (j *modesJob) collect(h *halves) bool {
	if j.done == nil || j.begun.CompareAndSwap(false, true) {
		return false
	}
	<-j.done
	h.modes, h.merr = j.h.modes, j.h.merr
	return j.err == nil
}

// stop ends the job.
func (j *modesJob) stop() {
	j.cancel()
	if j.done != nil {
		<-j.done
	}
}
