package fusefs

import (
	"context"
	"errors"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// preferredIO is the buffer size that programs such as cp and stdio are told to
// use, in bytes.
const preferredIO = 64 << 10

// GetAttr implements stat.
func (fs *FS) GetAttr(interrupt <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	n, err := fs.node(in.NodeId)
	if err == nil {
		err = fs.refresh(ctx, n)
	}
	if err != nil {
		return fs.status("getattr", in.NodeId, "", err)
	}
	out.SetTimeout(fs.attr(n, &out.Attr))
	return fuse.OK
}

// refresh asks the server about n, unless that was done lately or we know
// better.
func (fs *FS) refresh(ctx context.Context, n *node) error {
	_, place := fs.tree.status(n)
	switch {
	case place == Lost:
		return errStale
	case place != Linked || fs.authoritative(n) || fs.fresh(n):
		return nil
	}
	if n.dir {
		if err := fs.along(ctx, n); err != nil {
			return err
		}
	}
	path, release, err := fs.lockPath(ctx, n, shared)
	if err == nil {
		defer release()
		if fs.authoritative(n) || n.dir && fs.fresh(n) {
			return nil
		}
		err = fs.ask(ctx, n, path)
	}
	if _, place := fs.tree.status(n); place == Removed {
		return nil
	}
	return err
}

// ask asks the server about n, whose op gate the caller holds.
func (fs *FS) ask(ctx context.Context, n *node, path string) error {
	tick := fs.tick()
	info, err := fs.server.Stat(ctx, path)
	if errors.Is(err, iofs.ErrNotExist) || err == nil && info.IsDir() != n.dir {
		return fs.lose(n, err)
	}
	if err != nil {
		return err
	}
	return fs.hear(n, info, tick, time.Now())
}

// hear notes what the server said of n at some time, having been asked at tick.
//
// Who reads a file while others change it must not see the new one's size: the
// kernel would end its copy of the old one with zeros. So the changed file is
// another one from now on, as if it had been renamed to its name. n is left to
// those who read it, and ESTALE makes the kernel look the name up again.
func (fs *FS) hear(n *node, info uftp.Info, tick uint64, at time.Time) error {
	n.mu.Lock()
	another, passed := n.onlyRead() && !fs.spool.Dirty(n.id) && n.differs(info, tick), n.passed != nil
	changed := !another && n.learn(info, tick, at)
	n.mu.Unlock()
	switch {
	case another && passed: // there is nothing of it that its readers could not have
		fs.passing.replaced.Add(1)
		fs.tree.remove(n, Removed)
	case another:
		fs.tree.remove(n, Lost)
	}
	if another || changed {
		fs.cache.Invalidate(n.id)
	}
	if another {
		return errStale
	}
	return nil
}

// enter is tree.enter for a name that the server described as info.
func (fs *FS) enter(dir *node, name string, info uftp.Info, tick uint64, at time.Time) (*node, error) {
	for {
		n, isNew, err := fs.tree.enter(dir, name, info, tick, at)
		if err != nil || isNew {
			return n, err
		}
		if fs.hear(n, info, tick, at) == nil {
			return n, nil
		}
		fs.tree.forget(n.id, 1)
	}
}

// lose notes that others removed n, or put something else in its place, and
// returns ESTALE: the kernel then looks the name up again, if it was a name.
func (fs *FS) lose(n *node, err error) error {
	if n == fs.tree.root {
		return errors.Join(syscall.ESTALE, err)
	}
	fs.tree.remove(n, Lost)
	fs.cache.Invalidate(n.id)
	return errStale
}

// authoritative reports whether we know better than the server what n is:
// because some of it is not there yet, or is changing by us right now.
func (fs *FS) authoritative(n *node) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changing > 0 || fs.spool.Dirty(n.id)
}

// fresh reports whether the server was asked about n so lately that the kernel
// may believe it.
func (fs *FS) fresh(n *node) bool { return n.believed(fs.spec.AttrTimeout) }

// believed reports whether the server said less than valid ago what n is.
func (n *node) believed(valid time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.seen()
	return !at.IsZero() && time.Since(at) < valid
}

// attr fills in what is shown of n and returns for how long it may be believed.
func (fs *FS) attr(n *node, out *fuse.Attr) (valid time.Duration) {
	_, place := fs.tree.status(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	size, mtime := n.info.Size, n.info.ModTime
	if at := n.seen(); !at.IsZero() {
		valid = max(0, fs.spec.AttrTimeout-time.Since(at))
	}
	if !n.dir {
		if end := fs.spool.End(n.id); end > 0 {
			// The upload will change the times, so this is not to be kept.
			size, mtime, valid = max(size, end), n.wrote, 0
		}
	}
	*out = fuse.Attr{
		Ino:     n.ino,
		Size:    unsigned(size),
		Blocks:  unsigned(size+511) / 512,
		Mode:    fs.shownMode(n.info.Mode),
		Nlink:   1, // of directories too: it means that it is not known
		Owner:   fs.owner(),
		Blksize: preferredIO,
	}
	if place != Linked {
		out.Nlink, valid = 0, 0
	}
	out.SetTimes(&mtime, &mtime, &mtime)
	n.toldSize, n.toldUntil = size, time.Now().Add(valid)
	return valid
}

// correct reports whether the kernel may still believe in a size that n no
// longer has: it would read no further. n.mu is held.
func (n *node) correct(size int64, now time.Time) bool {
	return size != n.toldSize && now.Before(n.toldUntil)
}

// owner returns who owns everything: the server does not tell.
func (fs *FS) owner() fuse.Owner {
	o := fuse.Owner{Uid: fs.spec.UID, Gid: fs.spec.GID}
	if fs.spec.FSGroupSet {
		o.Gid = fs.spec.FSGroup
	}
	return o
}

// shownMode is the one place where the mode that programs see is made of the
// one that the server has. With FileMode or DirMode set, those are shown
// whatever the server has: chmod then changes the server and shows no effect.
func (fs *FS) shownMode(mode iofs.FileMode) uint32 {
	kind, option := uint32(syscall.S_IFREG), fs.spec.FileMode
	if mode.IsDir() {
		kind, option = syscall.S_IFDIR, fs.spec.DirMode
	}
	bits := unixMode(mode) &^ fs.spec.Umask
	if option != 0 {
		bits = option
	}
	if fs.spec.FSGroupSet {
		bits |= bits >> 3 & 0o070
	}
	return kind | bits&0o7777
}

// unixMode returns the permission, set-id and sticky bits of mode as chmod(2)
// has them; goMode is the reverse.
func unixMode(mode iofs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, b := range specialBits() {
		if mode&b.mode != 0 {
			bits |= b.bit
		}
	}
	return bits
}

func goMode(bits uint32) iofs.FileMode {
	mode := iofs.FileMode(bits & 0o777)
	for _, b := range specialBits() {
		if bits&b.bit != 0 {
			mode |= b.mode
		}
	}
	return mode
}

func specialBits() []specialBit {
	return []specialBit{
		{syscall.S_ISUID, iofs.ModeSetuid},
		{syscall.S_ISGID, iofs.ModeSetgid},
		{syscall.S_ISVTX, iofs.ModeSticky},
	}
}

type specialBit struct {
	bit  uint32
	mode iofs.FileMode
}
