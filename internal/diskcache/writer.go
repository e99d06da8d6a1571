package diskcache

import (
	"errors"
	"io/fs"
	"time"
)

// put is bytes to be written.
type put struct {
	x    Content
	off  int64
	p    []byte
	done func()
	age  int64 // how often something was forgotten before
}

// Put offers bytes of x, which are at off, to be written behind the reader's
// back, and reports whether they were taken. If so, p is not to be changed until
// done was called; if not, the disk is slow or in trouble, or x is so young that
// it could change without showing it.
func (c *Cache) Put(x Content, off int64, p []byte, done func()) bool {
	n := int64(len(p))
	if n == 0 || time.Since(x.ModTime) < racy {
		return false
	}
	if c.rest.resting(time.Now()) || !c.enqueue(put{x, off, p, done, c.forgets.Load()}) {
		c.dropped.Add(n)
		return false
	}
	return true
}

func (c *Cache) enqueue(w put) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(len(w.p))
	if c.closed {
		return false
	}
	if c.queued.Load()+n <= c.cfg.Queue {
		select {
		case c.queue <- w:
			c.queued.Add(n)
			return true
		default:
		}
	}
	if len(c.lost) >= mostLost {
		clear(c.lost)
	}
	c.lost[newID(c.cfg, w.x)] += n
	return false
}

// write writes what was put, until Close.
func (c *Cache) write() {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.tidy()
		case w := <-c.queue:
			if len(w.p) > 0 {
				_ = c.handle(w) // counted, and nobody waits for it
			}
			c.queued.Add(-int64(len(w.p)))
			w.done()
		}
	}
}

// handle writes one piece, or says why it is dropped.
func (c *Cache) handle(w put) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.tryHandle(w)
	if err != nil {
		c.dropped.Add(int64(len(w.p)))
	}
	return err
}

// errDropped means that a piece is not to be written, or not now.
var errDropped = errors.New("diskcache: dropped")

func (c *Cache) tryHandle(w put) error {
	if c.rest.resting(time.Now()) || w.age != c.forgets.Load() {
		return errDropped
	}
	if !c.ready {
		if err := c.prepare(); err != nil {
			if c.ctx.Err() == nil {
				c.fail(err)
			}
			return err
		}
		c.ready = true
	}
	s, err := c.acquire(w.x, true)
	if err == nil {
		err = c.store(s, w)
		c.release(s)
	}
	c.note(s, err)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed the directory
		c.ready = false
	}
	return err
}

// Forget removes what is stored of x, and what waits to be: for whoever knows
// that size and time do not tell what is in a file.
func (c *Cache) Forget(x Content) {
	if x.Size <= 0 {
		return
	}
	c.forgets.Add(1)
	c.writing.Lock()
	defer c.writing.Unlock()
	s := &stored{id: newID(c.cfg, x), dir: c.cfg.Dir}
	c.mu.Lock()
	if open := c.open[s.id]; open != nil {
		c.forgetLocked(open)
	}
	c.mu.Unlock()
	s.remove()
}

// drain lets go of what will not be written.
func (c *Cache) drain() {
	for {
		select {
		case w := <-c.queue:
			c.queued.Add(-int64(len(w.p)))
			w.done()
		default:
			return
		}
	}
}

// store writes one piece of s. The ledger is locked until it is written, so that
// whoever counts finds all that was promised.
func (c *Cache) store(s *stored, w put) error {
	n := int64(len(w.p))
	if !s.aligned(w.off, n) {
		return errDropped
	}
	var sums [chunk / page * sumSize]byte
	missing, err := s.missing(w.off, n, sums[:])
	if err != nil || missing == 0 {
		return err
	}
	// Of a file that does not fit, a part stays: in turns of reading it all,
	// what was used longest ago would always be what is wanted next.
	have, err := s.bytes()
	if err != nil {
		return err
	}
	if have+missing > c.cfg.Budget/2 {
		return errDropped
	}
	// The index, or the file system's list of pieces, may grow by a block.
	locked, err := c.ledger.promise(c.ctx, missing+page)
	if err != nil {
		return err
	}
	defer func() { _ = locked.Close() }()
	if err := s.write(w.p, w.off, sums[:]); err != nil {
		return err
	}
	c.rest.over()
	c.stored.Add(n)
	s.touch()
	return nil
}
