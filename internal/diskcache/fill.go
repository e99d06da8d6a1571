package diskcache

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// fetches is how many pieces are fetched at a time to complete a content.
const fetches = 4

// Fill completes x, if most of it was read: the disk may have been too slow for
// the reader. fetch brings the bytes that are missing: it fills p with those
// at off, and is called several times at once. What is complete is verified, so
// that Complete says yes. It returns without an error also if there is nothing
// to be done, or nothing that can be.
func (c *Cache) Fill(ctx context.Context, x Content, fetch func(ctx context.Context, off int64, p []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if time.Since(x.ModTime) < racy || x.Size > c.cfg.Budget/2-page {
		return nil // it will never be all there
	}
	if !c.flush(ctx) {
		return ctx.Err()
	}
	s, err := c.acquire(x, false)
	if err != nil {
		c.note(nil, err)
		return nil
	}
	defer c.release(s)
	if c.rest.resting(time.Now()) || !s.mostlyThere(c.takeLost(s.id)) {
		return nil
	}
	if err := c.fetchHoles(ctx, s, x, fetch); err != nil {
		return fmt.Errorf("complete a file on the disk: %w", err)
	}
	return c.verifyFilled(ctx, s)
}

// flush waits until all that was put before is written or dropped.
func (c *Cache) flush(ctx context.Context) bool {
	written := make(chan struct{})
	select {
	case c.queue <- put{done: func() { close(written) }}:
	case <-ctx.Done():
		return false
	}
	select {
	case <-written:
		return true
	case <-ctx.Done():
		return false
	}
}

// takeLost returns how much of a content somebody has read and the disk was too
// slow for, once.
func (c *Cache) takeLost(id id) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.lost[id]
	delete(c.lost, id)
	return n
}

// mostlyThere reports whether three quarters of s are on the disk, or would be
// with what was lost.
func (s *stored) mostlyThere(lost int64) bool {
	missing, sums := int64(0), make([]byte, 0, stride/page*sumSize)
	for off := int64(0); off < s.size; off += stride {
		n, err := s.missing(off, min(stride, s.size-off), sums)
		if missing += n; err != nil || missing-lost > s.size/4 {
			return false
		}
	}
	return true
}

// fetchHoles fetches and writes what is missing of s. What is dropped stays so.
func (c *Cache) fetchHoles(ctx context.Context, s *stored, x Content, fetch func(context.Context, int64, []byte) error) error {
	pieces, ctx := errgroup.WithContext(ctx)
	pieces.SetLimit(fetches)
	for off := int64(0); off < s.size && ctx.Err() == nil; {
		from, to, err := s.hole(off)
		if err != nil || from == to || s.gone() {
			break
		}
		off = to
		pieces.Go(func() error {
			p, age := make([]byte, to-from), c.forgets.Load()
			if err := fetch(ctx, from, p); err != nil {
				return err
			}
			if err := c.handle(put{x: x, off: from, p: p, age: age}); err != nil {
				return err
			}
			c.filled.Add(to - from)
			return nil
		})
	}
	return pieces.Wait()
}

// hole returns the first part at off or later that is missing, within one chunk,
// or nothing.
func (s *stored) hole(off int64) (from, to int64, err error) {
	buf := make([]byte, 0, chunk/page*sumSize)
	for ; off < s.size; off = (off/chunk + 1) * chunk {
		end := min((off/chunk+1)*chunk, s.size)
		sums, err := s.sums(off/page, (end-off+page-1)/page, buf)
		if err != nil {
			return 0, 0, err
		}
		from = -1
		for at := off; at < end; at += page {
			i := (at - off) / page * sumSize
			switch there := present(sums[i : i+sumSize]); {
			case !there && from < 0:
				from = at
			case there && from >= 0:
				return from, at, nil
			}
		}
		if from >= 0 {
			return from, end, nil
		}
	}
	return 0, 0, nil
}

// verifyFilled verifies s, unless that is known or somebody is at it.
func (c *Cache) verifyFilled(ctx context.Context, s *stored) error {
	whole, err := s.whole()
	c.note(s, err)
	if !whole {
		return nil
	}
	if state, err := s.state(); err != nil || c.knows(s, state, time.Now()) {
		return nil // a disk that does not work has nothing to verify
	}
	select {
	case c.verifying <- struct{}{}:
		defer func() { <-c.verifying }()
		c.verify(s)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
