package blockcache

import (
	"context"
	"errors"
	"io"
	"sync"
)

// errNegative means that a caller asks for what no file has.
var errNegative = errors.New("blockcache: negative offset")

// ReadAt reads from one content of a file, by the rules of [io.ReaderAt]. It
// fetches the pages that it needs and no more.
func (c *Cache) ReadAt(ctx context.Context, key Key, p []byte, off int64) (int, error) {
	return c.readAt(ctx, nil, key, p, off)
}

// Load fetches what is missing of the n bytes at off for somebody who is going
// to read them, and returns when all that there is room for is there. With ahead
// nobody waits for it.
func (c *Cache) Load(ctx context.Context, key Key, off, n int64, ahead bool) error {
	if off < 0 {
		return errNegative
	}
	c.mu.Lock()
	runs, err := c.load(key, off, min(off+n, key.Version.Size), ahead)
	c.mu.Unlock()
	defer c.unpinAll(runs)
	for _, r := range runs {
		if err == nil {
			err = r.wait(ctx)
		}
	}
	return err
}

// load pins what there is of [pos, end) and starts the flights of the rest.
func (c *Cache) load(key Key, pos, end int64, ahead bool) (runs []*run, err error) {
	f, err := c.file(key)
	if err != nil {
		return nil, err
	}
	c.touched()
	for pos < end {
		r, from, to := f.find(pos, c.cfg.BlockSize)
		if r == nil {
			r, err = c.launch(f, key, pos, max(from, pos), min(to, end), ahead)
		}
		if r == nil || err != nil {
			break
		}
		r.state.Add(1)
		runs = append(runs, r)
		pos = r.end()
	}
	return runs, err
}

// Reader reads one file for one user and fetches ahead of him as he reads. It
// is safe for concurrent use; the zero value is not usable: see
// [Cache.NewReader].
type Reader struct {
	c *Cache

	mu      sync.Mutex // guards what follows; never held with Cache.mu
	version Version
	pattern pattern
}

// NewReader returns a reader of a file that nothing was read of yet.
func (c *Cache) NewReader() *Reader {
	return &Reader{c: c, pattern: pattern{block: c.cfg.BlockSize, most: c.mostAhead(), reach: c.cfg.Reach}}
}

const (
	// nearWindow is enough ahead of a scan of what is near, in bytes: for a few
	// milliseconds in which nobody is there to fetch, and few enough to stay in
	// the processor's caches until they are read.
	nearWindow = 16 << 20
	// fastest is at which rate a scan may still find its bytes there, in bytes
	// per second.
	fastest = 5 << 29
)

// mostAhead returns how many bytes one scan may have ahead of it.
func (c *Cache) mostAhead() int64 {
	most := max(c.cfg.Budget/2, pageSize)
	if c.cfg.RoundTrip == nil {
		return most
	}
	way := int64(c.cfg.RoundTrip().Seconds() * fastest)
	return min(most, max(way, nearWindow, 8*c.cfg.BlockSize))
}

// ReadAt is [Cache.ReadAt] with read-ahead.
func (r *Reader) ReadAt(ctx context.Context, key Key, p []byte, off int64) (int, error) {
	return r.c.readAt(ctx, r, key, p, off)
}

// readAt copies out of pinned runs; r is nil without a pattern to follow.
func (c *Cache) readAt(ctx context.Context, r *Reader, key Key, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegative
	}
	end := min(off+int64(len(p)), key.Version.Size)
	for pos := off; pos < end; pos = off + int64(n) {
		var array [8]*run
		runs, err := r.pin(ctx, c, key, pos, end, array[:0])
		if err != nil {
			return n, err
		}
		for i, run := range runs {
			if err := run.wait(ctx); err != nil {
				c.unpinAll(runs[i:])
				return n, err
			}
			n += copy(p[n:end-off], run.buf[off+int64(n)-run.off:])
			c.unpin(run)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// pin is [Cache.gather] with what r knows of the reader, if it is not nil.
func (r *Reader) pin(ctx context.Context, c *Cache, key Key, pos, end int64, dst []*run) ([]*run, error) {
	if r == nil {
		return c.gather(ctx, key, pos, end, plan{from: pos, to: end}, dst)
	}
	r.mu.Lock()
	if r.version != key.Version {
		r.version = key.Version
		r.pattern.restart()
	}
	p := r.pattern.next(pos, end-pos)
	r.mu.Unlock()
	runs, err := c.gather(ctx, key, pos, end, p, dst)
	if err != nil || p.window == nil {
		return runs, err
	}
	waited := false
	for _, run := range runs {
		waited = waited || !run.landed()
	}
	if !waited && p.count == 0 {
		return runs, nil
	}
	// What is wanted has been sent for: now what is ahead of it.
	n := c.prefetch(key, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 {
		p.window.upTo = p.first + n*p.step + p.reach
	}
	if waited {
		p.window.waited()
	}
	return runs, nil
}

func (c *Cache) unpinAll(runs []*run) {
	for _, r := range runs {
		c.unpin(r)
	}
}

// View is bytes of a file within the cache's memory. They stay as they are, and
// count, until Release. The zero value is ready for [Reader.View], and may be
// used again after Release: it keeps its slices. It is not safe for concurrent
// use.
type View struct {
	// Pieces are the bytes, in order, not to be changed.
	Pieces [][]byte

	c    *Cache
	runs []*run
}

// Release ends the use of the pieces. A second call does nothing.
func (v *View) Release() {
	if v.c != nil {
		v.c.unpinAll(v.runs)
	}
	clear(v.Pieces)
	clear(v.runs)
	v.c, v.Pieces, v.runs = nil, v.Pieces[:0], v.runs[:0]
}

// View is ReadAt without a copy: it sets v, which is released or new, to the n
// bytes at off and returns how many there are. There are fewer at the end of
// the file, and where so much is in use that there is no room for more: the rest
// is to be had from ReadAt. With an error there is nothing to release.
func (r *Reader) View(ctx context.Context, key Key, off, n int64, v *View) (int64, error) {
	if off < 0 {
		return 0, errNegative
	}
	end := min(off+n, key.Version.Size)
	if off >= end {
		return 0, nil
	}
	runs, err := r.pin(ctx, r.c, key, off, end, v.runs[:0])
	if err != nil {
		return 0, err
	}
	v.c, v.runs = r.c, runs
	pos := off
	for _, run := range runs {
		if err := run.wait(ctx); err != nil {
			v.Release()
			return 0, err
		}
		to := min(run.end(), end)
		v.Pieces = append(v.Pieces, run.buf[pos-run.off:to-run.off:to-run.off])
		pos = to
	}
	return pos - off, nil
}
