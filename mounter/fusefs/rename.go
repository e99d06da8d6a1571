package fusefs

import (
	"context"
	"errors"
	iofs "io/fs"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Rename implements rename and renameat2. Of its flags RENAME_NOREPLACE is
// supported, as well as the wire allows: by looking first.
func (fs *FS) Rename(interrupt <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	return fs.status("rename", in.NodeId, oldName, fs.rename(ctx, in, oldName, newName))
}

// renaming is a rename with everything locked that it needs.
type renaming struct {
	fromDir, toDir   *node
	from, to         string // paths
	source, replaced *node  // nil if not known
	newName          string
}

func (fs *FS) rename(ctx context.Context, in *fuse.RenameIn, oldName, newName string) error {
	switch {
	case fs.spec.ReadOnly:
		return errReadOnly
	case in.Flags&^unix.RENAME_NOREPLACE != 0:
		return syscall.EINVAL
	}
	if err := checkName(newName); err != nil {
		return err
	}
	fromDir, err := fs.directory(in.NodeId)
	if err != nil {
		return err
	}
	toDir, err := fs.directory(in.Newdir)
	if err != nil {
		return err
	}
	r := &renaming{fromDir: fromDir, toDir: toDir, newName: newName}
	release, err := fs.lockRename(ctx, r, oldName)
	if err != nil {
		return err
	}
	defer release()
	if r.source != nil && r.source == r.replaced {
		return nil
	}
	if in.Flags&unix.RENAME_NOREPLACE != 0 {
		if err := fs.mustNotExist(ctx, toDir, newName); err != nil {
			return err
		}
	}
	return fs.doRename(fs.ctx, r)
}

// lockRename finds and locks the nodes that a rename concerns.
func (fs *FS) lockRename(ctx context.Context, r *renaming, oldName string) (release func(), err error) {
	for {
		r.source = fs.tree.child(r.fromDir, oldName)
		r.replaced = fs.tree.child(r.toDir, r.newName)
		claims := []claim{{r.fromDir, exclusive, shared}, {r.toDir, exclusive, shared}}
		for _, n := range []*node{r.source, r.replaced} {
			if n != nil {
				claims = append(claims, claim{n, none, exclusive})
			}
		}
		release, err = fs.lock(ctx, claims...)
		if fs.tree.child(r.fromDir, oldName) == r.source && fs.tree.child(r.toDir, r.newName) == r.replaced {
			break
		}
		if err == nil {
			release()
		} else if ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	from, _ := fs.tree.path(r.fromDir)
	to, _ := fs.tree.path(r.toDir)
	r.from, r.to = join(from, oldName), join(to, r.newName)
	return release, nil
}

// doRename renames on the server and in the tree. What is replaced while it is
// open is hidden first, so for a moment others see neither file.
func (fs *FS) doRename(ctx context.Context, r *renaming) error {
	hidden := false
	if r.replaced != nil {
		opens, _ := fs.tree.status(r.replaced)
		switch {
		case r.replaced.dir:
			if err := fs.evacuate(ctx, r.replaced, r.toDir); err != nil {
				return err
			}
		case opens > 0 && (r.source == nil || !r.source.dir):
			if err := fs.hide(ctx, r.toDir, r.replaced); err != nil && !errors.Is(err, iofs.ErrNotExist) {
				return err
			}
			hidden = true
		}
	}
	if err := fs.server.Rename(ctx, r.from, r.to); err != nil {
		if hidden {
			fs.unhide(ctx, r)
		}
		if errors.Is(err, iofs.ErrNotExist) && r.source != nil {
			fs.loseIfGone(ctx, r.source, r.from)
		}
		return err
	}
	fs.changed(r.fromDir, nil)
	fs.changed(r.toDir, nil)
	if r.replaced != nil && !hidden {
		_ = fs.removed(r.replaced, nil)
	}
	if r.source != nil {
		fs.tree.move(r.source, r.toDir, r.newName, Linked)
		fs.forgetDisk(r.source)
	}
	return nil
}

// unhide takes back the hiding of a file that was not replaced after all.
func (fs *FS) unhide(ctx context.Context, r *renaming) {
	path, ok := fs.tree.path(r.replaced)
	if !ok {
		return
	}
	if err := fs.server.Rename(ctx, path, r.to); err != nil {
		fs.log.Error("a file that was to be replaced has lost its name", "path", r.to, "now", path, "err", err)
		return
	}
	fs.tree.move(r.replaced, r.toDir, r.newName, Linked)
}

// loseIfGone finds out which of two names it was that does not exist.
func (fs *FS) loseIfGone(ctx context.Context, n *node, path string) {
	if _, err := fs.server.Stat(ctx, path); errors.Is(err, iofs.ErrNotExist) {
		_ = fs.lose(n, err)
	}
}
