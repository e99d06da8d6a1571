package fusefs

import (
	"context"
	"errors"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	maxName      = 255
	hiddenPrefix = ".uftp-hidden-"
)

// Lookup implements the walk from a directory to one of its names.
func (fs *FS) Lookup(interrupt <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	n, err := fs.lookup(ctx, header.NodeId, name)
	if errors.Is(err, iofs.ErrInvalid) {
		err = syscall.ENOENT // a name that the wire cannot carry is the name of nothing
	}
	if errors.Is(err, iofs.ErrNotExist) && fs.spec.NegativeTimeout > 0 {
		out.NodeId = 0
		out.SetEntryTimeout(fs.spec.NegativeTimeout)
		return fuse.OK
	}
	if err != nil {
		return fs.status("lookup", header.NodeId, name, err)
	}
	fs.entry(n, out, max(0, fs.entryValid(n)))
	return fuse.OK
}

// lookup returns the node of a name, counted.
func (fs *FS) lookup(ctx context.Context, parent uint64, name string) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	dir, err := fs.directory(parent)
	if err != nil {
		return nil, err
	}
	if n := fs.tree.child(dir, name); n != nil && n.dir && fs.entryValid(n) <= 0 {
		if err := fs.along(ctx, n); err != nil {
			return nil, err
		}
	} else {
		fs.foresee(ctx, dir, name)
	}
	release, err := fs.lock(ctx, claim{dir, shared, shared})
	if err != nil {
		return nil, err
	}
	defer release()
	if n := fs.tree.child(dir, name); n != nil && fs.entryValid(n) > 0 && fs.tree.count(n) {
		dir.below.Store(n)
		return n, nil // looked at ahead
	}
	n, err := fs.find(ctx, dir, name)
	switch {
	case err == nil:
		dir.below.Store(n)
	case errors.Is(err, iofs.ErrNotExist):
		dir.absent.Store(&absence{name, time.Now()})
	}
	return n, err
}

// entryValid returns for how much longer the kernel may believe in a name after
// what the server last said about it.
func (fs *FS) entryValid(n *node) time.Duration {
	if fs.authoritative(n) {
		return fs.spec.EntryTimeout
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.seen()
	if at.IsZero() {
		return 0
	}
	return fs.spec.EntryTimeout - time.Since(at)
}

// find returns the node of a name, counted, in a directory whose entries gate
// the caller holds. It asks the server, unless we know better.
func (fs *FS) find(ctx context.Context, dir *node, name string) (*node, error) {
	known := fs.tree.child(dir, name)
	if known != nil {
		if _, place := fs.tree.status(known); place == Hidden {
			return nil, syscall.ENOENT
		}
		if fs.authoritative(known) && fs.tree.count(known) {
			return known, nil
		}
	}
	path, _ := fs.tree.path(dir)
	tick := fs.tick()
	info, err := fs.server.Stat(ctx, join(path, name))
	if errors.Is(err, iofs.ErrNotExist) && known != nil && !fs.authoritative(known) {
		_ = fs.lose(known, err)
	}
	if err != nil {
		return nil, err
	}
	return fs.enter(dir, name, info, tick, time.Now())
}

// entry fills in what the kernel is told of a name.
func (fs *FS) entry(n *node, out *fuse.EntryOut, valid time.Duration) {
	out.NodeId = n.id
	out.Generation = generation
	out.SetEntryTimeout(valid)
	out.SetAttrTimeout(fs.attr(n, &out.Attr))
}

// Forget takes back lookups of the kernel.
func (fs *FS) Forget(id, lookups uint64) { fs.tree.forget(id, lookups) }

func checkName(name string) error {
	if len(name) > maxName {
		return syscall.ENAMETOOLONG
	}
	return nil
}
