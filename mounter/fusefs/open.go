package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Bits of uftp.Info.Access.
const (
	accessRead  = 4
	accessWrite = 2
)

// Open implements open of an existing file.
func (fs *FS) Open(interrupt <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	n, err := fs.node(in.NodeId)
	if err == nil {
		err = fs.open(ctx, n, in.Flags, out)
	}
	return fs.status("open", in.NodeId, "", err)
}

// open opens n after asking the server what it is now: what was closed elsewhere
// before is seen here. Readers may be content with less: see Spec.OpenTimeout.
func (fs *FS) open(ctx context.Context, n *node, flags uint32, out *fuse.OpenOut) error {
	switch {
	case n.dir:
		return errIsDir
	case fs.spec.ReadOnly && (writes(flags) || flags&syscall.O_TRUNC != 0):
		return errReadOnly
	}
	if !passable(flags) {
		if err := fs.giveUp(n, true); err != nil {
			return err
		}
	}
	tick, outcome := fs.tick(), n.aheadOutcome(fs.spec.AttrTimeout)
	reader := !writes(flags) && flags&syscall.O_TRUNC == 0
	believed := reader && n.believed(fs.spec.OpenTimeout)
	if reader && !believed && !fs.authoritative(n) {
		fs.preload(ctx, n, false)
	}
	// The gate keeps n from being removed before it counts as open.
	path, release, err := fs.lockPath(ctx, n, shared)
	if err != nil {
		return err
	}
	defer func() { release() }()
	if !fs.authoritative(n) {
		if !n.takeAhead(fs.spec.AttrTimeout) && !n.checkedSince(tick) && !believed {
			if err := fs.ask(ctx, n, path); err != nil {
				return err
			}
		}
		if err := n.allows(flags); err != nil {
			return err
		}
	}
	if flags&syscall.O_TRUNC != 0 {
		release()
		if path, release, err = fs.lockPath(ctx, n, exclusive); err != nil {
			release = func() {}
			return err
		}
		if err := fs.truncate(fs.ctx, n, path, 0); err != nil {
			return err
		}
	}
	if err := fs.addHandle(n, flags, fs.offer(ctx, n, flags), out); err != nil {
		return err
	}
	if !writes(flags) {
		fs.foresaw(n)
		fs.readAhead(n, outcome)
	}
	return nil
}

// allows tells the opener what would else become an error of some later read or
// write: what the server does not let its user do. Programs' own permissions
// are the kernel's business.
func (n *node) allows(flags uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if reads(flags) && n.info.Access&accessRead == 0 || writes(flags) && n.info.Access&accessWrite == 0 {
		return syscall.EACCES
	}
	return nil
}

// addHandle makes a handle of n, whose op gate the caller holds. What is offered
// is used or ended.
func (fs *FS) addHandle(n *node, flags uint32, offered *passed, out *fuse.OpenOut) error {
	h := &handle{n: n, flags: flags, reader: fs.cache.NewReader()}
	fs.tree.open(n)
	n.mu.Lock()
	ok := n.pass(h, offered, n.changing == 0 && !fs.spool.Dirty(n.id))
	if offered != nil && h.passed != offered {
		defer fs.end(offered) // somebody was faster
	}
	if !ok {
		n.mu.Unlock()
		fs.tree.close(n)
		_ = fs.giveUp(n, !passable(flags))
		return errStale // also if nobody has it open any more: the next try goes well
	}
	h.epoch = n.epoch
	var keep, emptied bool
	if h.passed == nil { // the kernel's page cache is as it was, otherwise
		keep, emptied = n.keepCache(time.Now())
	}
	stale := n.add(h)
	wrong := n.correct(max(n.info.Size, fs.spool.End(n.id)), time.Now())
	n.mu.Unlock()
	if emptied {
		fs.cache.Invalidate(n.id)
	}
	if forget := fs.forget.Load(); wrong && forget != nil {
		(*forget)(n.id)
	}
	fs.handles.addFile(h)
	out.Fh = h.id
	switch {
	case h.passed != nil:
		fs.passing.opens.Add(1)
		out.OpenFlags, out.BackingID = fuse.FOPEN_PASSTHROUGH, h.passed.id
	case stale:
		// Somebody has an older version open. The kernel has one page cache
		// for both, so nothing may get into it.
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	case keep:
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	if !h.writable() {
		out.OpenFlags |= fuse.FOPEN_NOFLUSH // close has nothing to tell
	}
	return nil
}

// emptyTime is for how long the kernel may not have emptied its cache yet after it
// was told to with an open. Whoever opens the file meanwhile tells it too, or he
// might be served from what it had.
const emptyTime = 10 * time.Second

// keepCache reports whether what the kernel has cached of n is what the server
// has: nobody else changed it since n was opened first, and no change since
// then can have escaped us. If not, our own cache is to be emptied as well, if
// there can be anything in it that is older than such a change. n.mu is held.
func (n *node) keepCache(now time.Time) (keep, emptied bool) {
	first := n.openedAt.IsZero()
	if !first && n.openedEpoch == n.epoch && n.openedAt.Sub(n.info.ModTime) >= racyWindow {
		return now.After(n.emptying), false
	}
	n.openedAt, n.openedEpoch = now, n.epoch
	if first {
		return false, false
	}
	n.emptying = now.Add(emptyTime)
	if n.since.Sub(n.info.ModTime) >= racyWindow {
		return false, false // what we read since then is the new content
	}
	n.seq++
	return false, true
}

// add adds a handle and reports whether there are any of an older version. n.mu
// is held.
func (n *node) add(h *handle) (stale bool) {
	for other := range n.handles {
		stale = stale || other.epoch != n.epoch
	}
	if n.handles == nil {
		n.handles = make(map[*handle]struct{})
	}
	n.handles[h] = struct{}{}
	return stale
}

// Flush implements close: it returns when the server has all that was written
// to the file through any handle, with the true error. The data stays if it
// fails, and the next one tries again.
func (fs *FS) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h, err := fs.handles.file(in.Fh)
	if err == nil && h.writable() { // who only read does not wait for writers
		err = fs.sync(h.n)
	}
	return fs.status("flush", in.NodeId, "", err)
}

// Fsync implements fsync and fdatasync, as Flush, through any handle.
func (fs *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h, err := fs.handles.file(in.Fh)
	if err == nil {
		err = fs.sync(h.n)
	}
	return fs.status("fsync", in.NodeId, "", err)
}

// FsyncDir implements fsync of a directory: names are changed on the server at
// once.
func (fs *FS) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

func (fs *FS) sync(n *node) error {
	if _, place := fs.tree.status(n); place == Hidden || place == Removed {
		return nil // nobody else can ever see it
	}
	err := fs.upload(fs.ctx, n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		err = n.untold // it happened behind the writer
	}
	n.untold = nil
	return err
}

// Release ends a handle. Nobody waits for it.
func (fs *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h, _ := fs.handles.drop(in.Fh)
	if h == nil {
		return
	}
	n := h.n
	n.mu.Lock()
	delete(n.handles, h)
	last := n.unpass(h)
	n.mu.Unlock()
	if last != nil {
		fs.end(last)
	}
	fs.tree.ref(n)
	defer fs.tree.unref(n)
	opens, place := fs.tree.close(n)
	if opens > 0 {
		return
	}
	if place == Linked {
		fs.completeBehind(h)
	}
	switch place {
	case Hidden:
		_ = fs.removeHidden(fs.ctx, n, false) // if it failed, that is noted and tried again
	case Removed, Lost:
		fs.discard(n)
	case Linked:
		fs.back.kick()
	}
}

// discard drops what is left of a file that has no path any more.
func (fs *FS) discard(n *node) {
	if bytes := fs.spool.Bytes(n.id); bytes > 0 {
		if _, place := fs.tree.status(n); place == Lost {
			fs.log.Error("data of a file that others removed was dropped", "bytes", bytes)
		}
	}
	fs.spool.Drop(n.id)
	fs.cache.Invalidate(n.id)
	fs.settle(n, nil)
}
