package diskcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where a Cache is and whose. All but Logger and Queue are needed.
type Config struct {
	Dir    string // absolute; made if it is not there, readable by its owner only
	Budget int64  // bytes on the disk, of all who use the directory
	// Source and Identity say where contents come from, and who the server takes
	// the reader for: what one may read is not for all. They are hashed.
	Source, Identity string
	Queue            int64 // bytes that wait to be written at most. Default 16 MiB
	Logger           *slog.Logger
}

// Stats is a snapshot of a Cache. Counters are totals since it was opened.
type Stats struct {
	Hits, Misses int64
	HitBytes     int64
	Stored       int64 // bytes put on the disk
	Dropped      int64 // bytes that the disk was too slow for, or had no room for
	Damaged      int64 // contents that were not what was put there
	Errors       int64 // of the disk
	Queued       int64 // bytes that wait to be written
	Filled       int64 // bytes that were fetched to complete what readers had left
	Complete     int64 // contents that were verified as a whole
	Resting      bool  // after an error, for a while
}

// Cache is one process's view of a cache directory. It is safe for concurrent
// use.
type Cache struct {
	cfg    Config
	ledger ledger
	rest   rest

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup // the writer, and who verifies
	queue  chan put
	queued atomic.Int64

	forgets atomic.Int64
	writing sync.Mutex // held by who writes, while he writes; taken before mu
	ready   bool       // the directory is known to be there; guarded by writing

	boot      string        // names this run of the system, "" if it has no name
	verifying chan struct{} // holds one token: who has it reads all of a content

	hits, misses, hitBytes, stored, dropped, damaged, errors, filled, complete atomic.Int64

	mu       sync.Mutex // guards what follows; held for memory, opening and closing
	closed   bool
	open     map[id]*stored
	verified map[id]verdict
	kept     map[id]int   // how often it is in use, beside open
	lost     map[id]int64 // bytes that somebody has read and the disk was too slow for
}

const (
	mostOpen     = 128     // contents
	mostVerified = 1 << 14 // remembered
	mostLost     = 1 << 10 // remembered
	idleOpen     = time.Minute
	tidyEvery    = 5 * time.Second
	// racy is how old a file must be for its size and modification time to tell
	// what is in it: a change within the same tick of the server's clock does
	// not show.
	racy = 2 * time.Second
)

// Open returns the cache in a directory. What is wrong with the directory or its
// disk is no error: the cache then holds nothing, and tries again later.
func Open(cfg Config) (*Cache, error) {
	switch {
	case !filepath.IsAbs(cfg.Dir):
		return nil, fmt.Errorf("diskcache: directory %q is not absolute: %w", cfg.Dir, fs.ErrInvalid)
	case cfg.Budget <= 0 || cfg.Source == "" || cfg.Identity == "":
		return nil, fmt.Errorf("diskcache: budget, source and identity are needed: %w", fs.ErrInvalid)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 16 << 20
	}
	c := &Cache{
		cfg:       cfg,
		ledger:    ledger{cfg.Dir, cfg.Budget},
		queue:     make(chan put, 1024),
		boot:      bootID(),
		verifying: make(chan struct{}, 1),
		open:      make(map[id]*stored),
		verified:  make(map[id]verdict),
		kept:      make(map[id]int),
		lost:      make(map[id]int64),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.group.Go(c.write)
	return c, nil
}

// Close writes nothing more and waits for what is being written.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.group.Wait()
	c.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.open {
		delete(c.open, id)
		if s.users == 0 {
			s.close()
		}
	}
	return nil
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), HitBytes: c.hitBytes.Load(),
		Stored: c.stored.Load(), Dropped: c.dropped.Load(), Damaged: c.damaged.Load(),
		Errors: c.errors.Load(), Queued: c.queued.Load(), Filled: c.filled.Load(), Complete: c.complete.Load(),
		Resting: c.rest.resting(time.Now()),
	}
}

// Get fills p with the bytes of x at off and reports whether it could: not if
// any of them is not on the disk, or not as it was put there. What p holds
// otherwise is undefined. It works on whole pages of 4 KiB and the rest of the
// file.
func (c *Cache) Get(x Content, off int64, p []byte) bool {
	ok := c.get(x, off, p)
	if ok {
		c.hits.Add(1)
		c.hitBytes.Add(int64(len(p)))
	} else {
		c.misses.Add(1)
	}
	return ok
}

func (c *Cache) get(x Content, off int64, p []byte) bool {
	if c.rest.resting(time.Now()) {
		return false
	}
	s, err := c.acquire(x, false)
	if err != nil {
		c.note(nil, err)
		return false
	}
	defer c.release(s)
	if !s.aligned(off, int64(len(p))) {
		return false
	}
	var sums [chunk / page * sumSize]byte
	ok, err := s.read(p, off, sums[:])
	c.note(s, err)
	if ok {
		s.touch()
	}
	return ok
}

// note deals with an error: of a content that is damaged, or of the disk.
func (c *Cache) note(s *stored, err error) {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, errClosed), errors.Is(err, errDropped), errors.Is(err, context.Canceled):
		return
	case errors.Is(err, errDamaged):
		if s != nil {
			s.remove() // first, or somebody could open it again
			c.forget(s)
		}
		c.damaged.Add(1)
		c.cfg.Logger.Warn("damaged content in the disk cache was removed", "dir", c.cfg.Dir)
		return
	case errors.Is(err, errBusy):
		return
	}
	c.fail(err)
}

// fail makes the cache rest after an error of the disk.
func (c *Cache) fail(err error) {
	c.errors.Add(1)
	if pause := c.rest.after(time.Now()); pause > 0 {
		c.cfg.Logger.Warn("the disk cache rests after an error", "dir", c.cfg.Dir, "pause", pause, "err", err)
	}
}

var errClosed = errors.New("diskcache: closed")

// acquire returns a content's files, opened. The caller releases them.
func (c *Cache) acquire(x Content, create bool) (*stored, error) {
	if x.Size <= 0 {
		return nil, fs.ErrNotExist
	}
	id := newID(c.cfg, x)
	if s, err := c.opened(id, create); s != nil || err != nil {
		return s, err
	}
	// A disk may take its time, and others have theirs open.
	fresh, err := openStored(c.cfg.Dir, id, x.Size, create)
	if errors.Is(err, errDamaged) {
		(&stored{id: id, dir: c.cfg.Dir}).remove()
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.open[id]; c.closed || s != nil && s.birth == fresh.birth {
		fresh.close()
		if c.closed {
			return nil, errClosed
		}
		fresh = s // somebody was faster
	} else {
		c.makeRoom()
		c.open[id] = fresh
		if s != nil && s.users == 0 {
			s.close()
		}
	}
	fresh.users++
	fresh.used = time.Now()
	return fresh, nil
}

// opened returns a content that is open already, or nil. To write to one that
// was removed would be in vain.
func (c *Cache) opened(id id, toWrite bool) (*stored, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.open[id]
	switch {
	case c.closed:
		return nil, errClosed
	case s == nil:
		return nil, nil
	case toWrite && s.gone():
		c.forgetLocked(s)
		return nil, nil
	}
	s.users++
	s.used = time.Now()
	return s, nil
}

// makeRoom closes the content that was used longest ago, if there are many. c.mu
// is held.
func (c *Cache) makeRoom() {
	if len(c.open) < mostOpen {
		return
	}
	var old *stored
	for _, s := range c.open {
		if s.users == 0 && (old == nil || s.used.Before(old.used)) {
			old = s
		}
	}
	if old != nil {
		c.forgetLocked(old)
	}
}

func (c *Cache) release(s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	if s.users == 0 && c.open[s.id] != s {
		s.close()
	}
}

// forget closes s once nobody uses it.
func (c *Cache) forget(s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(s)
}

func (c *Cache) forgetLocked(s *stored) {
	if c.open[s.id] == s {
		delete(c.open, s.id)
		if s.users == 0 {
			s.close()
		}
	}
}

// tidy closes contents that somebody has removed, as their bytes stay on the
// disk until all have closed them, and those that were not used for a while. What
// is kept was used just now.
func (c *Cache) tidy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for id := range c.kept {
		_ = os.Chtimes(id.path(c.cfg.Dir, indexKind), now, now) // gone is gone
	}
	for _, s := range c.open {
		if s.gone() || s.users == 0 && time.Since(s.used) > idleOpen {
			c.forgetLocked(s)
		}
	}
}

// rest is a pause after errors of the disk: longer each time, until it works.
type rest struct {
	until atomic.Int64 // nanoseconds since 1970
	pause atomic.Int64
}

const (
	firstRest = 5 * time.Second
	longRest  = 5 * time.Minute
)

func (r *rest) resting(now time.Time) bool { return now.UnixNano() < r.until.Load() }

// after begins a pause and returns how long it is, or 0 if there is one already.
func (r *rest) after(now time.Time) time.Duration {
	if r.resting(now) {
		return 0
	}
	pause := min(max(2*time.Duration(r.pause.Load()), firstRest), longRest)
	r.pause.Store(int64(pause))
	r.until.Store(now.Add(pause).UnixNano())
	return pause
}

func (r *rest) over() { r.pause.Store(0) }

// prepare makes the directory, and the count right, before the first write.
func (c *Cache) prepare() error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return err
	}
	return c.ledger.recount(c.ctx)
}
