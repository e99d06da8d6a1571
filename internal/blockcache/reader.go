package blockcache

import (
	"context"
	"sync"
)

const (
	// sequentialAfter is how many reads in a row must each go on where the
	// last ended for a reader to be taken for a sequential one.
	sequentialAfter = 2
	// aheadBlocks is how many blocks are fetched ahead of a sequential reader.
	aheadBlocks = 4
)

// Reader reads one file for one user and fetches ahead of him if he reads
// sequentially. The zero value is not usable: see [Cache.NewReader].
type Reader struct {
	c *Cache

	mu  sync.Mutex // guards what follows
	end int64      // behind the furthest byte read in this streak
	run int        // reads of the streak
}

// NewReader returns a reader at the start of a file.
func (c *Cache) NewReader() *Reader { return &Reader{c: c} }

// ReadAt is [Cache.ReadAt], with read-ahead.
func (r *Reader) ReadAt(ctx context.Context, key Key, p []byte, off int64) (int, error) {
	if !r.sequential(off, int64(len(p))) {
		return r.c.readAt(ctx, key, p, off, 0)
	}
	// What is wanted first, then what is ahead; the former up to the end of
	// its block, so that runs are blocks.
	block := r.c.cfg.BlockSize
	end := (off + int64(len(p)) + block - 1) / block * block
	r.c.prefetch(key, off, end+aheadBlocks*block)
	return r.c.readAt(ctx, key, p, off, end)
}

// sequential notes a read and reports whether it goes on with a streak. The
// kernel sends the reads of its own read-ahead side by side, so they may come a
// little out of order.
func (r *Reader) sequential(off, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	slack := r.c.cfg.BlockSize
	if off < r.end-slack || off > r.end+slack || off == 0 {
		r.run = 0
		r.end = off
	}
	r.run++
	r.end = max(r.end, off+n)
	return r.run > sequentialAfter
}

// prefetch starts flights for what is missing of [off, end), block by block, as
// far as they take no more than a quarter of the budget together. It does not
// wait.
func (c *Cache) prefetch(key Key, off, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.file(key)
	if err != nil {
		return
	}
	block := c.cfg.BlockSize
	end = min(end, key.Version.Size)
	for pos := off; pos < end; {
		blockEnd := min((pos/block+1)*block, end)
		if r := f.runs[pos/c.unit]; r != nil {
			pos = r.off + int64(len(r.buf))
			continue
		}
		if c.ahead+block > c.cfg.Budget/4 {
			return
		}
		r, _ := c.launch(f, key, pos, blockEnd)
		if r == nil {
			return
		}
		r.ahead = true
		c.ahead += int64(len(r.buf))
		pos = r.off + int64(len(r.buf))
	}
}
