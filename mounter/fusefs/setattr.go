package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// SetAttr implements truncate, chmod, chown and utimens.
func (fs *FS) SetAttr(interrupt <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	n, err := fs.node(in.NodeId)
	if err == nil {
		err = fs.setAttr(ctx, n, &in.SetAttrInCommon)
	}
	if err != nil {
		return fs.status("setattr", in.NodeId, "", err)
	}
	out.SetTimeout(fs.attr(n, &out.Attr))
	return fuse.OK
}

func (fs *FS) setAttr(ctx context.Context, n *node, in *fuse.SetAttrInCommon) error {
	if fs.spec.ReadOnly {
		return errReadOnly
	}
	if err := fs.chown(in); err != nil {
		return err
	}
	newSize, setSize := in.GetSize()
	mode, setMode := in.GetMode()
	mtime, setTime := in.GetMTime()
	if setSize && in.Valid&fuse.FATTR_MTIME_NOW != 0 {
		setTime = false // truncate(2) means no more by it
	}
	if !setSize && !setMode && !setTime {
		return fs.refresh(ctx, n) // nothing, or the access time, which nobody keeps
	}
	if setSize && n.dir {
		return errIsDir
	}
	if setSize {
		if err := fs.giveUp(n, true); err != nil {
			return err
		}
	}
	size, err := signed(newSize)
	if err != nil {
		return err
	}
	path, release, err := fs.lockPath(ctx, n, exclusive)
	if err != nil {
		return err
	}
	defer release()
	ctx = fs.ctx // from here on it is done to the end
	if setSize {
		if err := fs.truncate(ctx, n, path, size); err != nil {
			return err
		}
	}
	if setTime { // an upload after this would change the time again
		if err := fs.uploadTo(ctx, n, path, fs.spool.Mark(n.id)); err != nil {
			return err
		}
	}
	if !setMode && !setTime {
		return nil
	}
	return fs.change(ctx, n, path, func() (*uftp.Info, error) {
		a := uftp.Attr{Mode: goMode(mode), SetMode: setMode}
		if setTime {
			a.ModTime = mtime
		}
		after, err := fs.server.SetAttr(ctx, path, a)
		return &after, err
	}, nil)
}

// chown succeeds if it changes nothing that is shown. There are no owners to
// change. EPERM and not ENOTSUP is what tells programs that they lack the
// right to do so, and cp -a, tar and rsync go on after it when they are not
// root.
func (fs *FS) chown(in *fuse.SetAttrInCommon) error {
	shown := fs.owner()
	if uid, ok := in.GetUID(); ok && uid != shown.Uid && uid != ^uint32(0) {
		return syscall.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != shown.Gid && gid != ^uint32(0) {
		return syscall.EPERM
	}
	return nil
}
