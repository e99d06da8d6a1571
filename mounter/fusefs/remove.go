package fusefs

import (
	"context"
	"crypto/rand"
	"errors"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Unlink implements unlink. A file that is open gets a hidden name instead, and
// is removed when it is closed.
func (fs *FS) Unlink(interrupt <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	return fs.status("unlink", header.NodeId, name, fs.unlink(ctx, header.NodeId, name))
}

func (fs *FS) unlink(ctx context.Context, parent uint64, name string) error {
	dir, path, n, release, err := fs.removeEntry(ctx, parent, name)
	if err != nil {
		return err
	}
	defer release()
	if n != nil && n.dir {
		return errIsDir
	}
	ctx = fs.ctx
	if n != nil {
		if opens, _ := fs.tree.status(n); opens > 0 {
			return fs.hide(ctx, dir, n)
		}
	}
	err = fs.server.Remove(ctx, path)
	fs.changed(dir, err)
	return fs.removed(n, err)
}

// Rmdir implements rmdir.
func (fs *FS) Rmdir(interrupt <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	return fs.status("rmdir", header.NodeId, name, fs.rmdir(ctx, header.NodeId, name))
}

func (fs *FS) rmdir(ctx context.Context, parent uint64, name string) error {
	dir, path, n, release, err := fs.removeEntry(ctx, parent, name)
	if err != nil {
		return err
	}
	defer release()
	if n != nil && !n.dir {
		return errNotDir
	}
	ctx = fs.ctx
	if n != nil {
		if err := fs.evacuate(ctx, n, dir); err != nil {
			return err
		}
	}
	err = fs.server.Rmdir(ctx, path)
	fs.changed(dir, err)
	return fs.removed(n, err)
}

// removeEntry locks what is needed to remove a name: the directory's names, and
// the node that has it, which is nil if it is not known.
func (fs *FS) removeEntry(ctx context.Context, parent uint64, name string) (dir *node, path string, n *node, release func(), err error) {
	if fs.spec.ReadOnly {
		return nil, "", nil, nil, errReadOnly
	}
	if dir, err = fs.directory(parent); err != nil {
		return nil, "", nil, nil, err
	}
	for {
		n = fs.tree.child(dir, name)
		if n != nil {
			if _, place := fs.tree.status(n); place == Hidden {
				return nil, "", nil, nil, syscall.ENOENT
			}
		}
		claims := []claim{{dir, exclusive, shared}}
		if n != nil {
			claims = append(claims, claim{n, none, exclusive})
		}
		release, err = fs.lock(ctx, claims...)
		if now := fs.tree.child(dir, name); now == n {
			break
		}
		if err == nil {
			release()
		} else if ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, "", nil, nil, err
	}
	path, _ = fs.tree.path(dir)
	return dir, join(path, name), n, release, nil
}

// removed notes the outcome of the removal of n, which may be nil.
func (fs *FS) removed(n *node, err error) error {
	switch {
	case n == nil:
	case err == nil:
		fs.tree.remove(n, Removed)
		if !n.dir {
			fs.discard(n)
		}
	case errors.Is(err, iofs.ErrNotExist):
		_ = fs.lose(n, err)
	}
	return err
}

// hide gives an open file a name that nobody knows, in the same directory. The
// caller holds its op gate exclusively, and the directory's names.
func (fs *FS) hide(ctx context.Context, dir, n *node) error {
	from, ok := fs.tree.path(n)
	to, ok2 := fs.tree.path(dir)
	if !ok || !ok2 {
		return errStale
	}
	name := hiddenPrefix + rand.Text()
	err := fs.server.Rename(ctx, from, join(to, name))
	if errors.Is(err, iofs.ErrNotExist) {
		_ = fs.lose(n, err)
	}
	if err != nil {
		return err
	}
	fs.tree.move(n, dir, name, Hidden)
	if opens, _ := fs.tree.status(n); opens == 0 {
		fs.back.mark(fs, n) // its last handle was closed meanwhile, and saw no hidden file
		fs.back.hurry(n)
	}
	fs.changed(dir, nil)
	return nil
}

// removeHidden removes a file that was unlinked while open, if nobody has it open
// any more, or even then. If that fails it is tried again in the background.
func (fs *FS) removeHidden(ctx context.Context, n *node, evenOpen bool) error {
	path, release, err := fs.lockPath(ctx, n, exclusive)
	if err == nil {
		defer release()
	}
	if opens, place := fs.tree.status(n); place != Hidden || opens > 0 && !evenOpen {
		return nil // somebody was faster
	}
	if err == nil {
		err = fs.server.Remove(ctx, path)
	}
	if err == nil || errors.Is(err, iofs.ErrNotExist) {
		fs.tree.ref(n)
		defer fs.tree.unref(n)
		fs.tree.remove(n, Removed)
		fs.discard(n)
		return nil
	}
	fs.spool.Drop(n.id) // nobody can read it any more
	fs.back.mark(fs, n)
	fs.settle(n, err)
	return err
}

// evacuate moves the hidden files of a directory that is about to go to another
// one, so that they do not keep it. The caller holds dir's op gate exclusively,
// and so all below it.
func (fs *FS) evacuate(ctx context.Context, dir, to *node) error {
	hidden := fs.tree.hidden(dir)
	if len(hidden) == 0 {
		return nil
	}
	path, ok := fs.tree.path(dir)
	if !ok {
		return errStale
	}
	entries, err := fs.server.List(ctx, path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if hidden[e.Name] == nil {
			return syscall.ENOTEMPTY
		}
	}
	for _, n := range hidden {
		if err := fs.hide(ctx, to, n); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// changed notes that names of dir were changed, or perhaps not if err: what a
// listing from before says of its entries does not count. Its own time is another
// one now: ours, for as long as attributes are believed, since whoever makes many
// files would ask for it before each.
func (fs *FS) changed(dir *node, err error) {
	dir.mu.Lock()
	defer dir.mu.Unlock()
	dir.changed = fs.tick()
	if err != nil {
		dir.at = time.Time{}
		return
	}
	if t := now(); t.After(dir.info.ModTime) {
		dir.info.ModTime = t
	}
}
