package blockcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrStale means that the reader's version of the file is older than one that
// the cache has already seen.
var ErrStale = errors.New("blockcache: version superseded")

// ErrClosed means that the cache was closed.
var ErrClosed = errors.New("blockcache: closed")

// Version tells contents of one file apart.
type Version struct {
	Size    int64  // bytes
	ModTime int64  // nanoseconds since 1970
	Seq     uint64 // grows with each content of the file that its owner knows of
}

// Key names one content of one file.
type Key struct {
	File    uint64
	Version Version
}

// FetchFunc fills p with the bytes of a file at off. All of them, and of that
// version, or it returns an error.
type FetchFunc func(ctx context.Context, key Key, p []byte, off int64) error

// unitSize is the least that is fetched, in bytes, unless blocks are smaller.
const unitSize = 64 << 10

// Config says how a Cache works.
type Config struct {
	Fetch     FetchFunc
	Budget    int64         // bytes of memory for blocks, at least BlockSize
	BlockSize int64         // most bytes of one fetch, a power of two
	Timeout   time.Duration // of one fetch, 0 for none
}

// Cache holds blocks of files.
type Cache struct {
	cfg    Config
	unit   int64
	ctx    context.Context // of all flights
	cancel context.CancelFunc
	group  sync.WaitGroup // flights

	mu     sync.Mutex // guards what follows
	closed bool
	files  map[uint64]*fileRuns
	lru    list.List     // of *run, landed and current, last used first
	room   chan struct{} // closed, and replaced, when used shrinks or a pin goes
	ahead  int64         // bytes of flights that nobody waits for yet
	stats  Stats
}

// fileRuns is what is cached of one file.
type fileRuns struct {
	version Version
	runs    map[int64]*run // by unit
}

// run is a fetched or flying piece of a file.
type run struct {
	key  Key
	off  int64
	buf  []byte
	done chan struct{} // closed when landed
	err  error         // set before done is closed

	// Guarded by Cache.mu.
	pins    int           // readers, and the flight itself
	elem    *list.Element // in the LRU list
	dropped bool          // not in files any more
	ahead   bool          // nobody wanted it yet
}

// Stats is a snapshot of a Cache. Counters are totals since it was made.
type Stats struct {
	Budget, Used int64 // bytes of memory
	Flights      int   // fetches under way
	Hits, Misses int64 // runs that readers found, and did not
	Fetches      int64
	FetchedBytes int64
	ReadBytes    int64
	Evictions    int64
}

// New returns an empty cache.
func New(cfg Config) (*Cache, error) {
	switch {
	case cfg.Fetch == nil:
		return nil, errors.New("blockcache: no fetch function")
	case cfg.BlockSize <= 0 || cfg.BlockSize&(cfg.BlockSize-1) != 0:
		return nil, fmt.Errorf("blockcache: block size %d is not a power of two", cfg.BlockSize)
	case cfg.Budget < cfg.BlockSize:
		return nil, fmt.Errorf("blockcache: budget %d is less than a block of %d", cfg.Budget, cfg.BlockSize)
	}
	c := &Cache{
		cfg:   cfg,
		unit:  min(unitSize, cfg.BlockSize),
		files: make(map[uint64]*fileRuns),
		room:  make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends all flights and waits for them. Readers get ErrClosed.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.group.Wait()
	return nil
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	st.Budget = c.cfg.Budget
	return st
}

// ReadAt reads from one content of a file, by the rules of [io.ReaderAt]. It
// fetches the units that it needs and no more.
func (c *Cache) ReadAt(ctx context.Context, key Key, p []byte, off int64) (int, error) {
	return c.readAt(ctx, key, p, off, 0)
}

// readAt is ReadAt with a range that a fetch may as well bring: up to fetchEnd.
func (c *Cache) readAt(ctx context.Context, key Key, p []byte, off, fetchEnd int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("blockcache: negative offset")
	}
	end := min(off+int64(len(p)), key.Version.Size)
	for pos := off; pos < end; pos = off + int64(n) {
		r, err := c.pin(ctx, key, pos, max(end, fetchEnd))
		if err != nil {
			return n, err
		}
		if err := r.wait(ctx); err != nil {
			c.unpin(r)
			return n, err
		}
		n += copy(p[n:end-off], r.buf[pos-r.off:])
		c.unpin(r)
	}
	c.mu.Lock()
	c.stats.ReadBytes += int64(n)
	c.mu.Unlock()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// wait waits until r has landed or ctx is done.
func (r *run) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pin returns the run that holds the byte at pos, pinned. If there is none it
// starts a flight, of what is missing up to end at most.
func (c *Cache) pin(ctx context.Context, key Key, pos, end int64) (*run, error) {
	for {
		c.mu.Lock()
		f, err := c.file(key)
		if err != nil {
			c.mu.Unlock()
			return nil, err
		}
		if r := f.runs[pos/c.unit]; r != nil {
			c.use(r)
			c.stats.Hits++
			c.mu.Unlock()
			return r, nil
		}
		r, room := c.launch(f, key, pos, end)
		if r != nil {
			c.use(r)
			c.stats.Misses++
			c.mu.Unlock()
			return r, nil
		}
		c.mu.Unlock()
		// Everything is in use: flights land and readers copy without
		// waiting for us, so there will be room.
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// use pins r for a reader.
func (c *Cache) use(r *run) {
	r.pins++
	if r.ahead {
		r.ahead = false
		c.ahead -= int64(len(r.buf))
	}
	if r.elem != nil {
		c.lru.MoveToFront(r.elem)
	}
}

// file returns the runs of key's file, at key's version; launch enters a new one.
func (c *Cache) file(key Key) (*fileRuns, error) {
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
		f = &fileRuns{version: key.Version, runs: make(map[int64]*run)}
	}
	return f, nil
}

// launch starts the flight of the missing units from the one that holds pos, up
// to end or the next that is not missing, at most a block. Without room it
// returns nil and what to wait on.
func (c *Cache) launch(f *fileRuns, key Key, pos, end int64) (*run, <-chan struct{}) {
	first := pos / c.unit
	end = min(end, key.Version.Size)
	n := int64(1)
	for n*c.unit < c.cfg.BlockSize && (first+n)*c.unit < end && f.runs[first+n] == nil {
		n++
	}
	off := first * c.unit
	size := min(n*c.unit, key.Version.Size-off)
	if !c.reserve(size) {
		return nil, c.room
	}
	r := &run{key: key, off: off, buf: make([]byte, size), done: make(chan struct{}), pins: 1}
	for i := range n {
		f.runs[first+i] = r
	}
	c.files[key.File] = f
	c.stats.Flights++
	c.stats.Fetches++
	c.stats.FetchedBytes += size
	c.group.Go(func() { c.fly(r) })
	return r, nil
}

// reserve takes n bytes from the budget, evicting what was not used for the
// longest time.
func (c *Cache) reserve(n int64) bool {
	for e := c.lru.Back(); e != nil && c.stats.Used+n > c.cfg.Budget; {
		r := e.Value.(*run)
		e = e.Prev()
		if r.pins == 0 {
			c.drop(r)
			c.stats.Evictions++
		}
	}
	if c.stats.Used+n > c.cfg.Budget {
		return false
	}
	c.stats.Used += n
	return true
}

// fly fetches r.
func (c *Cache) fly(r *run) {
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if c.cfg.Timeout > 0 {
		ctx, cancel = context.WithTimeout(c.ctx, c.cfg.Timeout)
	}
	err := c.cfg.Fetch(ctx, r.key, r.buf, r.off)
	cancel()
	if err != nil && c.ctx.Err() != nil {
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Flights--
	r.err = err
	switch {
	case r.dropped:
	case err != nil:
		c.drop(r)
	default:
		r.elem = c.lru.PushFront(r)
	}
	close(r.done)
	c.release(r)
}

// drop takes r out of the cache. Its memory counts until the last pin is gone.
func (c *Cache) drop(r *run) {
	r.dropped = true
	if r.elem != nil {
		c.lru.Remove(r.elem)
		r.elem = nil
	}
	if f := c.files[r.key.File]; f != nil && f.version == r.key.Version {
		for i := r.off / c.unit; i*c.unit < r.off+int64(len(r.buf)); i++ {
			delete(f.runs, i)
		}
		if len(f.runs) == 0 {
			delete(c.files, r.key.File)
		}
	}
	c.free(r)
}

func (c *Cache) unpin(r *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(r)
}

func (c *Cache) release(r *run) {
	r.pins--
	if r.pins == 0 {
		c.free(r)
		close(c.room)
		c.room = make(chan struct{})
	}
}

// free gives r's bytes back if it is neither cached nor in use.
func (c *Cache) free(r *run) {
	if !r.dropped || r.pins > 0 {
		return
	}
	c.stats.Used -= int64(len(r.buf))
	if r.ahead {
		r.ahead = false
		c.ahead -= int64(len(r.buf))
	}
}

// Invalidate drops what is cached of a file. Flights go on for those who wait.
func (c *Cache) Invalidate(file uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidate(file)
}

func (c *Cache) invalidate(file uint64) {
	f := c.files[file]
	if f == nil {
		return
	}
	seen := make(map[*run]bool, len(f.runs))
	for _, r := range f.runs {
		seen[r] = true
	}
	for r := range seen {
		c.drop(r)
	}
	delete(c.files, file)
}
