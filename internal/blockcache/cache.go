package blockcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrStale means that the reader's version of the file is older than one that
// the cache has already seen.
var ErrStale = errors.New("blockcache: version superseded")

// ErrClosed means that the cache was closed.
var ErrClosed = errors.New("blockcache: closed")

// errNoMemory means that the system does not give what the budget allows.
var errNoMemory = errors.New("blockcache: out of memory")

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

// Request is what one fetch is to bring.
type Request struct {
	Key   Key
	Off   int64  // of the first byte
	Buf   []byte // gets the bytes; 1 to Config.BlockSize, within one block, all within Key.Version.Size
	Ahead bool   // nobody waits for it yet, and maybe nobody ever will
	// Order says in which order requests were made: they come side by side, and so
	// in any.
	Order int64
}

// FetchFunc fills r.Buf with the bytes of r.Key's file at r.Off. All of them,
// and of that version, or it returns an error. It is called from many
// goroutines at a time, and may not touch r.Buf after it has returned.
type FetchFunc func(ctx context.Context, r Request) error

// Tier is a slower and larger cache behind this one. Its methods are called from
// many goroutines at a time.
type Tier interface {
	// Get fills r.Buf as a [FetchFunc] does, and reports whether it could.
	Get(ctx context.Context, r Request) bool
	// Put offers what was fetched and reports whether it is taken. If so, r.Buf
	// stays as it is, and counts, until done is called. It does not wait.
	Put(r Request, done func()) bool
}

// Config says how a Cache works. Zero values mean the defaults.
type Config struct {
	Fetch     FetchFunc // needed
	Tier      Tier      // is asked before Fetch. Default: none
	Budget    int64     // bytes of memory, at least BlockSize. Default 256 MiB
	BlockSize int64     // most bytes of one fetch: a power of two, at least 4 KiB. Default 1 MiB
	// RoundTrip is how far away the bytes are: how much a scan needs on its way
	// follows from it. Default: half of the budget.
	RoundTrip func() time.Duration
	Timeout   time.Duration // of one fetch. Default: none
	// Reach says how many bytes keep the way to where Fetch gets them busy: a scan
	// has as many ahead of it as soon as it is one. Default: none
	Reach func() int64
	Idle  time.Duration // without a read for as long, twice at most, memory is given back. Default 1 min
}

// Cache holds blocks of files. It is safe for concurrent use.
type Cache struct {
	cfg    Config
	most   int64 // bytes of one run
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup // flights

	waiting atomic.Int32 // readers that wait for room

	mu     sync.Mutex // guards what follows; held for memory only
	closed bool
	files  map[uint64]*file
	arena  *arena
	policy policy
	room   chan struct{} // closed, and replaced, when there may be room for those who wait
	ahead  int64         // bytes that nobody has wanted yet, landed or not
	runs   int           // not freed
	order  int64         // of the last flight
	idle   *time.Timer
	used   bool // since idle was set
	stats  Stats
}

// Stats is a snapshot of a Cache. Counters are totals since it was made.
type Stats struct {
	Budget, Used int64 // bytes of memory; Used counts what is held for reuse, too
	Cached       int64 // bytes of memory with something in them, or to be
	Ahead        int64 // bytes fetched, or being fetched, that no reader has wanted yet
	Flights      int   // fetches under way
	Hits, Misses int64 // runs that readers found, and did not
	Fetches      int64 // begun
	FetchedBytes int64 // to come, or here
	TierBytes    int64 // that came from the tier instead
	ReadBytes    int64
	Evictions    int64
}

// New returns an empty cache.
func New(cfg Config) (*Cache, error) {
	if cfg.Budget == 0 {
		cfg.Budget = 256 << 20
	}
	if cfg.BlockSize == 0 {
		cfg.BlockSize = 1 << 20
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	switch {
	case cfg.Fetch == nil:
		return nil, errors.New("blockcache: no fetch function")
	case cfg.BlockSize < pageSize || cfg.BlockSize&(cfg.BlockSize-1) != 0:
		return nil, fmt.Errorf("blockcache: block size %d is not a power of two of at least %d", cfg.BlockSize, pageSize)
	case cfg.Budget < max(cfg.BlockSize, 2*pageSize):
		return nil, fmt.Errorf("blockcache: budget %d is less than a block of %d and than %d",
			cfg.Budget, cfg.BlockSize, 2*pageSize)
	}
	c := &Cache{
		cfg:    cfg,
		files:  make(map[uint64]*file),
		arena:  newArena(cfg.Budget, cfg.BlockSize),
		policy: policy{budget: cfg.Budget},
		room:   make(chan struct{}),
	}
	for _, class := range c.arena.classes {
		if class.size+runCost <= cfg.Budget {
			c.most = class.size
		}
	}
	for _, l := range []*list{&c.policy.spent, &c.policy.probation, &c.policy.protected, &c.policy.ahead} {
		l.init()
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends all flights, waits for them, and gives the memory back, if need be
// when the last [View] is released. Readers get ErrClosed.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	c.cancel()
	c.group.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.files {
		c.invalidate(id)
	}
	c.unmap()
	return nil
}

// unmap gives the memory of a closed cache back that nobody uses any more.
func (c *Cache) unmap() {
	if c.closed && c.runs == 0 {
		c.arena.unmap()
	}
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	st.Budget, st.Used, st.Ahead = c.cfg.Budget, c.arena.held, c.ahead
	st.Cached = c.arena.held - c.arena.warm
	return st
}

// Invalidate drops what is cached of a file. Flights go on for those who wait.
func (c *Cache) Invalidate(file uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidate(file)
}

func (c *Cache) invalidate(id uint64) {
	f := c.files[id]
	if f == nil {
		return
	}
	delete(c.files, id)
	for _, runs := range f.blocks {
		for _, r := range runs {
			c.forget(r)
		}
	}
	c.signal()
}

// touched notes that somebody reads, for [Config.Idle].
func (c *Cache) touched() {
	c.used = true
	if c.idle == nil && !c.closed {
		c.idle = time.AfterFunc(c.cfg.Idle, c.relax)
		c.used = false
	}
}

// relax gives all memory back if nobody read for a while.
func (c *Cache) relax() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = nil
	if c.closed {
		return
	}
	if c.used {
		c.touched()
		return
	}
	for r := c.policy.victim(false); r != nil; r = c.policy.victim(false) {
		c.drop(r)
	}
	c.arena.trim(c.arena.warm)
	if c.runs > 0 {
		c.touched()
	}
}
