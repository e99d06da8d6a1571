package blockcache

import (
	"context"
)

// least is how small a fetch gets for want of memory before its reader waits
// instead, in bytes.
const least = 64 << 10

// gather pins the runs that hold [off, end) of key's file, which is not empty,
// from the first on, and starts the flights of those that are missing. It adds
// them to dst: at least one, and the further ones for which there is room, so
// that nobody who holds a pin waits for others to let go of theirs.
func (c *Cache) gather(ctx context.Context, key Key, off, end int64, p plan, dst []*run) ([]*run, error) {
	c.mu.Lock()
	dst, err := c.collect(key, off, end, p, dst)
	if err != nil || len(dst) > 0 {
		c.stats.ReadBytes += covered(dst, off, end)
		c.mu.Unlock()
		return dst, err
	}
	// Everything is in use: flights land and readers copy without waiting for
	// us, so there will be room.
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	for {
		// Who unpinned before it could see that we wait is seen here.
		dst, err = c.collect(key, off, end, p, dst)
		room := c.room
		if err != nil || len(dst) > 0 {
			c.stats.ReadBytes += covered(dst, off, end)
			c.mu.Unlock()
			return dst, err
		}
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return dst, ctx.Err()
		case <-c.ctx.Done():
			return dst, ErrClosed
		}
		c.mu.Lock()
	}
}

// covered returns how many bytes of [off, end) runs hold, which begin at off.
func covered(runs []*run, off, end int64) int64 {
	if len(runs) == 0 {
		return 0
	}
	return min(runs[len(runs)-1].end(), end) - off
}

// collect is gather without waiting for room.
func (c *Cache) collect(key Key, off, end int64, p plan, dst []*run) ([]*run, error) {
	f, err := c.file(key)
	if err != nil {
		return dst, err
	}
	c.touched()
	for pos := off; pos < end; {
		r, from, to := f.find(pos, c.cfg.BlockSize)
		if r == nil {
			from, to = max(from, min(p.from, pos)), min(to, max(p.to, end))
			if r, err = c.launch(f, key, pos, from, to, false); err != nil {
				return dst, err
			}
			if r == nil {
				return dst, nil
			}
			c.stats.Misses++
		} else {
			c.stats.Hits++
		}
		r.state.Add(1)
		c.wanted(r)
		c.policy.touch(r, min(r.end(), end)-pos, p.scan)
		dst = append(dst, r)
		pos = r.end()
	}
	return dst, nil
}

// file returns the runs of key's file, at key's version.
func (c *Cache) file(key Key) (*file, error) {
	if c.closed {
		return nil, ErrClosed
	}
	f := c.files[key.File]
	if f != nil && f.version != key.Version {
		if key.Version.Seq < f.version.Seq {
			return nil, ErrStale
		}
		c.invalidate(key.File)
		f = nil
	}
	if f == nil {
		f = &file{version: key.Version, blocks: make(map[int64][]*run)}
	}
	return f, nil
}

// launch starts the flight of what is missing of [from, to), which is within
// one block and a hole, as much as fits in one run with the byte at pos. It
// returns nil if there is no room.
func (c *Cache) launch(f *file, key Key, pos, from, to int64, ahead bool) (*run, error) {
	from, to = pageStart(from), min(pageEnd(to), key.Version.Size)
	if to-from > c.most {
		from = max(from, min(pageStart(pos), pageEnd(to-c.most)))
		to = min(to, from+c.most)
	}
	for !c.reserve(to-from, ahead) {
		if ahead || to-from <= least {
			return nil, nil
		}
		// Little now is better than much later.
		half := pageEnd((to - from) / 2)
		from = pageStart(pos)
		to = min(to, from+half)
	}
	size := to - from
	buf := c.arena.take(size, runCost)
	if buf == nil {
		return nil, errNoMemory
	}
	r := &run{key: key, file: f, off: from, buf: buf, left: size, ahead: ahead, done: make(chan struct{})}
	r.state.Store(1) // the flight's
	f.insert(r, c.cfg.BlockSize)
	c.files[key.File] = f
	c.runs++
	c.stats.Flights++
	c.stats.Fetches++
	c.stats.FetchedBytes += size
	if ahead {
		c.foresaw(f, size)
	}
	c.order++
	order := c.order
	c.group.Go(func() { c.fly(r, ahead, order) })
	return r, nil
}

func pageStart(off int64) int64 { return off &^ (pageSize - 1) }
func pageEnd(off int64) int64   { return pageStart(off + pageSize - 1) }

// reserve makes room for a run of n bytes.
func (c *Cache) reserve(n int64, ahead bool) bool {
	for len(c.arena.class(n).warm) == 0 {
		r := c.policy.surplus()
		if r == nil {
			break
		}
		c.drop(r)
		c.stats.Evictions++
	}
	for !c.arena.fits(n, runCost) {
		if over := c.arena.class(n).size; c.arena.warm >= over {
			c.arena.trim(over)
			continue
		}
		r := c.policy.victim(ahead)
		if r == nil {
			c.arena.trim(c.arena.warm)
			return c.arena.fits(n, runCost)
		}
		c.drop(r)
		c.stats.Evictions++
	}
	return true
}

// foresaw notes that n more bytes are ahead of readers of f.
func (c *Cache) foresaw(f *file, n int64) {
	if f.ahead == 0 {
		c.policy.scanned += f.version.Size
	}
	f.ahead += n
	c.ahead += n
}

// wanted notes that somebody wants r, or that nobody ever will.
func (c *Cache) wanted(r *run) {
	if !r.ahead {
		return
	}
	r.ahead = false
	n := int64(len(r.buf))
	c.ahead -= n
	if r.file.ahead -= n; r.file.ahead == 0 {
		c.policy.scanned -= r.file.version.Size
	}
}

// fly fetches r.
func (c *Cache) fly(r *run, ahead bool, order int64) {
	ctx := c.ctx
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	request := Request{Key: r.key, Off: r.off, Buf: r.buf, Ahead: ahead, Order: order}
	found := c.cfg.Tier != nil && c.cfg.Tier.Get(ctx, request)
	var err error
	if !found {
		err = c.cfg.Fetch(ctx, request)
	}
	if err != nil && c.ctx.Err() != nil {
		err = ErrClosed
	}
	c.mu.Lock()
	c.stats.Flights--
	if found {
		c.stats.Fetches--
		c.stats.FetchedBytes -= int64(len(r.buf))
		c.stats.TierBytes += int64(len(r.buf))
	}
	r.err = err
	if r.state.Load()&dropped == 0 {
		if err == nil {
			c.policy.place(r)
		} else {
			c.drop(r)
		}
	}
	close(r.done)
	c.mu.Unlock()
	if c.cfg.Tier == nil || found || err != nil || !c.cfg.Tier.Put(request, func() { c.unpin(r) }) {
		c.unpin(r)
	}
}

// drop takes r out of the cache. Its memory counts until the last pin is gone.
func (c *Cache) drop(r *run) {
	if f := c.files[r.key.File]; f != nil {
		f.remove(r, c.cfg.BlockSize)
		if len(f.blocks) == 0 {
			delete(c.files, r.key.File)
		}
	}
	c.forget(r)
}

// forget does to r what drop does, but for the index.
func (c *Cache) forget(r *run) {
	if r.list != nil {
		r.list.remove(r)
	}
	c.wanted(r)
	if r.state.Or(dropped) == 0 {
		c.free(r)
	}
}

// unpin ends one use of r.
func (c *Cache) unpin(r *run) {
	switch left := r.state.Add(-1); {
	case left == dropped:
		c.mu.Lock()
		c.free(r)
		c.signal()
		c.unmap()
		c.mu.Unlock()
	case left == 0 && c.waiting.Load() > 0:
		c.mu.Lock()
		c.signal()
		c.mu.Unlock()
	}
}

// free gives back the memory of r, which is in no index and not in use.
func (c *Cache) free(r *run) {
	c.arena.give(r.buf, runCost)
	c.runs--
}

// signal wakes those who wait for room.
func (c *Cache) signal() {
	if c.waiting.Load() > 0 {
		close(c.room)
		c.room = make(chan struct{})
	}
}

// prefetch starts flights for what is missing of p's spans, in their order, as
// far as there is room beside others, and returns how many spans it has dealt
// with. It does not wait.
func (c *Cache) prefetch(key Key, p plan) (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.file(key)
	if err != nil {
		return 0 // whoever comes to read it hears of that
	}
	for ; n < p.count; n++ {
		from := max(p.first+n*p.step, p.clip, 0)
		end := min(p.first+n*p.step+p.length, key.Version.Size)
		for from < end {
			if !c.mayPrefetch(p.own + n*p.length) {
				return n
			}
			r, hole, to := f.find(from, c.cfg.BlockSize)
			if r == nil {
				r, err = c.launch(f, key, from, max(hole, from), min(to, end), true)
			}
			if r == nil || err != nil {
				return n
			}
			from = r.end()
		}
	}
	return n
}

// mayPrefetch reports whether a reader that has own bytes ahead of it may have
// more: up to twice what is left of a share of the budget for all others. So
// one alone gets half of the budget, two get a third each, and whoever comes
// next finds something left.
func (c *Cache) mayPrefetch(own int64) bool {
	for own > 2*(c.cfg.Budget*3/4-c.ahead) {
		r := c.policy.forgotten()
		if r == nil {
			return false
		}
		c.drop(r)
		c.stats.Evictions++
	}
	return true
}
