package fusefs

import (
	"context"
	"slices"
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
	// maxOrders is how many directories may be known by their order at a time, and
	// maxListed how many entries they may have, unless it is one alone.
	maxOrders = 1024
	maxListed = 1 << 17
)

// ahead bounds what is done before anybody asks for it.
type ahead struct {
	mu     sync.Mutex // guards what follows
	orders []*node    // directories with an order, the one used last at the end
	bytes  int64      // being read
	files  int

	jobs    []listJob // directories to be listed
	lists   int       // goroutines that do it
	window  int       // how many may be ahead of their readers
	early   int       // and how many are
	entries int       // what is in them
}

// keepOrders remembers a listing of dir for whoever opens what is in it.
func (fs *FS) keepOrders(dir *node, o *orders) {
	if fs.spec.AttrTimeout <= 0 {
		return // nothing may be believed
	}
	a := &fs.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	dir.orders.Store(o)
	used := fs.tree.lineage(dir) // who reads dir goes on with those above it
	a.orders = slices.DeleteFunc(a.orders, func(n *node) bool { return slices.Contains(used, n) })
	for _, n := range used {
		if n.orders.Load() != nil {
			a.orders = append(a.orders, n)
		}
	}
	for len(a.orders) > maxOrders || len(a.orders) > 1 && a.listedLocked() > maxListed {
		a.orders[0].orders.Store(nil)
		a.orders = slices.Delete(a.orders, 0, 1)
	}
}

// readAhead notes that n was opened for reading, and reads ahead of the opener.
func (fs *FS) readAhead(n *node, what outcome) {
	dir, name := fs.tree.location(n)
	if dir == nil {
		return
	}
	o := dir.orders.Load()
	if o == nil {
		return
	}
	fs.readSome(dir, o, o.files.opened(name, what, fs.ahead.room()))
	if what == tooEarly {
		o.walk.readLater()
	}
	if window, byIno := o.files.pace(); window > 0 {
		o.walk.reading(window, byIno)
	}
	if o.walk.entered(dir) {
		fs.readBeside(dir, o, what)
	}
}

// readSome reads files of dir, behind the caller.
func (fs *FS) readSome(dir *node, o *orders, files []uftp.Info) {
	for _, info := range files {
		if fs.ctx.Err() != nil {
			return
		}
		if info.Size > smallFile || !fs.ahead.take(info.Size, fs.spec.CacheSize/8) {
			continue
		}
		fs.group.Go(func() {
			defer fs.ahead.give(info.Size)
			fs.prefetch(dir, o, info)
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

// room returns how many more files may be read ahead.
func (a *ahead) room() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maxAhead - a.files
}

func (a *ahead) give(size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files--
	a.bytes -= size
}

// prefetch reads a listed file, or asks whether it is what is cached. What goes
// wrong is for the opener to find.
func (fs *FS) prefetch(dir *node, o *orders, info uftp.Info) {
	n := fs.foreknow(dir, o, info)
	if n == nil {
		return
	}
	defer fs.tree.unref(n)
	if n.dir || fs.authoritative(n) || n.aheadOutcome(fs.spec.AttrTimeout) == inTime {
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
	case n.lookedUp == foreseen && n.foreseenIn == tooEarly:
		return tooEarly
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
