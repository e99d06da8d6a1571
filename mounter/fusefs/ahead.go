package fusefs

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Programs that read whole directories (tar, cp -r, data loaders) list one and
// then open its files in the order of the listing. One by one, each small file
// would cost round trips and no time in between. So the files that come next are
// looked at and read before they are opened, many at a time.
const (
	// smallFile is the size in bytes up to which a file is read in one piece
	// together with the question whether it is still the same.
	smallFile = 128 << 10
	// inOrder is how far from the last one a file may be opened for an opener in
	// order: several threads may share the work.
	inOrder = 16
	// orderAfter is how many opens in order in a row it takes.
	orderAfter = 2
	// minAhead and maxAhead bound how many files are read ahead of an opener.
	minAhead, maxAhead = 8, 256
	// maxOrders is how many directories may be known by their order at a time, and
	// maxListed how many entries they may have, unless it is one alone.
	maxOrders = 8
	maxListed = 1 << 17
)

// order is a directory's listing, and how its files were opened.
type order struct {
	names []uftp.Info // never changes

	mu     sync.Mutex // guards what follows
	last   int        // index of the furthest file opened of this streak, -1 before the first
	streak int
	window int // files to be ahead
	next   int // index of the first file that was not read ahead
}

// sortListing gives a listing the one order that programs expect who sort names
// themselves; the server's is none.
func sortListing(entries []uftp.Info) {
	slices.SortFunc(entries, func(a, b uftp.Info) int { return strings.Compare(a.Name, b.Name) })
}

// newOrder is for a sorted listing.
func newOrder(names []uftp.Info) *order {
	return &order{names: names, last: -1, window: minAhead}
}

// outcome says what reading ahead did for an open.
type outcome int

const (
	missed outcome = iota // nothing yet: it comes too late, or was not begun
	inTime
	tooEarly // what was learned then is too old to be believed
)

// opened notes that a file was opened and returns which to read ahead now.
func (o *order) opened(name string, what outcome) []uftp.Info {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, ok := slices.BinarySearchFunc(o.names, name, func(e uftp.Info, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return nil
	}
	if o.streak > orderAfter && i < o.last-inOrder && i >= o.last-o.window {
		return nil // one of several threads, which had to wait while the others did not
	}
	if o.last < 0 && i > inOrder || o.last >= 0 && (i < o.last-inOrder || i > o.last+inOrder) {
		o.streak, o.window, o.next = 0, minAhead, 0
		o.last = i
		return nil
	}
	o.streak++
	o.last = max(o.last, i)
	if o.streak < orderAfter {
		return nil
	}
	if o.streak > orderAfter {
		switch what {
		case missed:
			o.window = min(2*o.window, maxAhead)
		case tooEarly:
			o.window = max(o.window/2, minAhead)
		case inTime:
		}
	}
	from := max(o.next, o.last+1)
	to := min(o.last+1+o.window, len(o.names))
	if from >= to || to-from < o.window/4 && to < len(o.names) {
		return nil // a few more together cost the same
	}
	o.next = to
	return o.names[from:to]
}

// ahead reads files before they are opened.
type ahead struct {
	mu     sync.Mutex // guards what follows
	orders []*node    // directories with an order, the newest last
	bytes  int64      // being read
	files  int
}

// keepOrder remembers a listing of dir for whoever opens its files.
func (fs *FS) keepOrder(dir *node, entries []uftp.Info) {
	if fs.spec.AttrTimeout <= 0 || len(entries) <= orderAfter {
		return // nothing may be believed, or nothing is left to read ahead
	}
	a := &fs.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	dir.order.Store(newOrder(entries))
	a.orders = slices.DeleteFunc(a.orders, func(n *node) bool { return n == dir })
	a.orders = append(a.orders, dir)
	for len(a.orders) > maxOrders || len(a.orders) > 1 && a.listedLocked() > maxListed {
		a.orders[0].order.Store(nil)
		a.orders = slices.Delete(a.orders, 0, 1)
	}
}

// readAhead notes that n was opened for reading, and reads ahead of the opener.
func (fs *FS) readAhead(n *node, what outcome) {
	dir, name := fs.tree.location(n)
	if dir == nil {
		return
	}
	o := dir.order.Load()
	if o == nil {
		return
	}
	for _, info := range o.opened(name, what) {
		if fs.ctx.Err() != nil {
			return
		}
		if info.IsDir() || info.Size > smallFile || !fs.ahead.take(info.Size, fs.spec.CacheSize/8) {
			continue
		}
		fs.group.Go(func() {
			defer fs.ahead.give(info.Size)
			fs.prefetch(dir, info)
		})
	}
}

func (a *ahead) take(size, limit int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.files >= maxAhead || a.bytes+size > limit {
		return false
	}
	a.files++
	a.bytes += size
	return true
}

func (a *ahead) give(size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files--
	a.bytes -= size
}

// prefetch reads a listed file, or asks whether it is what is cached. What goes
// wrong is for the opener to find.
func (fs *FS) prefetch(dir *node, info uftp.Info) {
	n := fs.tree.child(dir, info.Name)
	if n == nil {
		return // the kernel has not looked it up yet, or not any more
	}
	fs.tree.ref(n)
	defer fs.tree.unref(n)
	if n.dir || fs.authoritative(n) {
		return
	}
	fs.lookAhead(fs.ctx, n, true)
}

// lookAhead reads a small file, or asks whether it is what is cached, for one who
// opens it next; with ahead nobody waits for it.
func (fs *FS) lookAhead(ctx context.Context, n *node, ahead bool) {
	before := fs.tick()
	n.mu.Lock()
	n.ahead, n.aheadOf = true, before
	n.mu.Unlock()
	if fs.preload(ctx, n, ahead); !n.checkedSince(before) {
		_ = fs.recheck(ctx, n, ahead)
	}
}

// preload brings a small file into the cache; with ahead nobody waits for it.
// Unless it is there already this tells whether it is still the same. Whoever
// reads it hears of errors.
func (fs *FS) preload(ctx context.Context, n *node, ahead bool) {
	n.mu.Lock()
	key := blockcache.Key{File: n.id, Version: n.version()}
	n.mu.Unlock()
	if size := key.Version.Size; size <= smallFile {
		_ = fs.cache.Load(ctx, key, 0, size, ahead)
	}
}

// recheck asks for no more than whether n has the version that we know, and for
// everything if not.
func (fs *FS) recheck(ctx context.Context, n *node, ahead bool) error {
	path, release, err := fs.lockPath(ctx, n, shared)
	if err != nil {
		return err
	}
	defer release()
	tick, at := fs.tick(), time.Now()
	_, after, err := fs.server.Fetch(ctx, uftp.Read{Path: path, Ahead: ahead})
	if err == nil && n.confirm(after, tick, at) {
		return nil
	}
	return fs.ask(ctx, n, path)
}

// confirm notes that the server said at tick that n is what we know, if it did.
func (n *node) confirm(info uftp.Info, tick uint64, at time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changing > 0 || tick <= n.changed || !sameVersion(n.info, info) || n.info.Access != info.Access {
		return false
	}
	if tick > n.checked {
		n.checked, n.checkedAt = tick, at
	}
	return true
}

// checkedSince reports whether the server was asked about n after tick.
func (n *node) checkedSince(tick uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.checked, n.asked) > tick
}

// modeAge is how long the mode of a file may be taken for what it was while its
// size and time are asked for: asking for it too costs as much again.
const modeAge = 30 * time.Second

// seen returns when the server last said what n is. n.mu is held.
func (n *node) seen() time.Time {
	if !n.at.IsZero() && n.checkedAt.After(n.at) && n.checkedAt.Sub(n.at) < modeAge {
		return n.checkedAt
	}
	return n.at
}

// aheadOutcome tells what reading ahead has done for somebody who opens n now.
func (n *node) aheadOutcome(valid time.Duration) outcome {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !n.ahead || max(n.checked, n.asked) <= n.aheadOf || n.lookedUp == foreseen:
		return missed // not begun, or not answered, or waited for
	case time.Since(n.checkedAt) >= valid:
		return tooEarly
	}
	return inTime
}

// takeAhead reports whether n may be opened without asking what it is, because
// that was done ahead. That is good for one open: the next one asks again.
func (n *node) takeAhead(valid time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	ready := n.ahead && !n.checkedAt.IsZero() && time.Since(n.checkedAt) < valid &&
		(n.lookedUp != foreseen || time.Since(n.foreseenAt) < openSoon)
	n.ahead = false
	return ready
}
