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

// Create implements open with O_CREAT of a name that the kernel believes to be
// free. The wire has no exclusive creation: of two clients that create one name
// in the same moment, both succeed.
func (fs *FS) Create(interrupt <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	n, err := fs.create(ctx, in, name, &out.OpenOut)
	if err != nil {
		return fs.status("create", in.NodeId, name, err)
	}
	fs.entry(n, &out.EntryOut, fs.spec.EntryTimeout)
	return fuse.OK
}

// create returns the new node, counted, with a handle. If others made the file
// before us it is opened.
func (fs *FS) create(ctx context.Context, in *fuse.CreateIn, name string, out *fuse.OpenOut) (*node, error) {
	dir, release, err := fs.changeEntries(ctx, in.NodeId, name)
	if err != nil {
		return nil, err
	}
	defer func() { release() }()
	var n *node
	if err = iofs.ErrNotExist; !fs.justAbsent(dir, name) {
		n, err = fs.find(ctx, dir, name)
	}
	switch {
	case err == nil && in.Flags&syscall.O_EXCL != 0:
		fs.tree.forget(n.id, 1)
		return nil, syscall.EEXIST
	case err == nil:
		release()
		release = func() {}
		if err := fs.open(ctx, n, in.Flags, out); err != nil {
			fs.tree.forget(n.id, 1)
			return nil, err
		}
		return n, nil
	case !errors.Is(err, iofs.ErrNotExist):
		return nil, err
	}
	n, err = fs.makeEntry(dir, name, in.Mode, fs.server.Create)
	if err != nil {
		return nil, err
	}
	// Nobody can remove it before it counts as open: we hold the names.
	return n, fs.addHandle(n, in.Flags, nil, out)
}

// absentFor is how long a name that was looked up in vain may be believed to be
// free: the kernel looks a name up before it creates it, and the answer of a
// server is as old as that on many a link.
const absentFor = 50 * time.Millisecond

// absence is a name that was looked up in a directory in vain.
type absence struct {
	name string
	at   time.Time
}

// justAbsent reports whether name was looked up in vain in the last moment, once.
// The caller holds dir's entries gate exclusively.
func (fs *FS) justAbsent(dir *node, name string) bool {
	a := dir.absent.Swap(nil)
	return a != nil && a.name == name && time.Since(a.at) < absentFor && fs.tree.child(dir, name) == nil
}

// Mknod implements mknod of regular files. The wire knows no others.
func (fs *FS) Mknod(interrupt <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	if kind := in.Mode & syscall.S_IFMT; kind != syscall.S_IFREG && kind != 0 {
		return fs.status("mknod", in.NodeId, name, fs.unsupported())
	}
	return fs.make(ctx, "mknod", in.NodeId, name, in.Mode, fs.server.Create, out)
}

// Mkdir implements mkdir.
func (fs *FS) Mkdir(interrupt <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	return fs.make(ctx, "mkdir", in.NodeId, name, in.Mode, fs.server.NewDir, out)
}

// make makes something new by f.
func (fs *FS) make(ctx context.Context, op string, parent uint64, name string, mode uint32, f func(context.Context, string) (uftp.Info, error), out *fuse.EntryOut) fuse.Status {
	n, err := func() (*node, error) {
		dir, release, err := fs.changeEntries(ctx, parent, name)
		if err != nil {
			return nil, err
		}
		defer release()
		if !fs.justAbsent(dir, name) {
			if err := fs.mustNotExist(ctx, dir, name); err != nil {
				return nil, err
			}
		}
		return fs.makeEntry(dir, name, mode, f)
	}()
	if err != nil {
		return fs.status(op, parent, name, err)
	}
	fs.entry(n, out, fs.spec.EntryTimeout)
	return fuse.OK
}

// mustNotExist fails with EEXIST if a name is taken. The caller holds the
// directory's entries gate.
func (fs *FS) mustNotExist(ctx context.Context, dir *node, name string) error {
	n, err := fs.find(ctx, dir, name)
	switch {
	case err == nil:
		fs.tree.forget(n.id, 1)
		return syscall.EEXIST
	case errors.Is(err, iofs.ErrNotExist):
		return nil
	}
	return err
}

// changeEntries returns a directory whose names the caller may change until
// release.
func (fs *FS) changeEntries(ctx context.Context, parent uint64, name string) (dir *node, release func(), err error) {
	if fs.spec.ReadOnly {
		return nil, nil, errReadOnly
	}
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	if dir, err = fs.directory(parent); err != nil {
		return nil, nil, err
	}
	release, err = fs.lock(ctx, claim{dir, exclusive, shared})
	return dir, release, err
}

// makeEntry makes something new on the server, with mode, and returns its node,
// counted. The caller holds dir's entries gate exclusively and knows the name to
// be free.
func (fs *FS) makeEntry(dir *node, name string, mode uint32, f func(context.Context, string) (uftp.Info, error)) (*node, error) {
	ctx := fs.ctx // to the end, whatever the caller does
	path, ok := fs.tree.path(dir)
	if !ok {
		return nil, errStale
	}
	path = join(path, name)
	info, err := f(ctx, path)
	fs.changed(dir, err)
	if err != nil {
		return nil, err
	}
	tick := fs.tick()
	fs.setMode(ctx, path, &info, mode)
	return fs.enter(dir, name, info, tick, time.Now())
}

// setMode gives something new the mode that its maker asked for. Whether that is
// possible depends on the server, its file system, and even on the name: it is
// no reason to fail.
func (fs *FS) setMode(ctx context.Context, path string, info *uftp.Info, mode uint32) {
	want := goMode(mode & 0o777)
	if info.Mode.Perm() == want {
		return
	}
	after, err := fs.server.SetAttr(ctx, path, uftp.Attr{Mode: want, SetMode: true})
	if err != nil {
		fs.log.Warn("mode of a new file not set", "path", path, "mode", want.String(), "err", err)
		return
	}
	*info = after
}

// Symlink implements symlink, which the wire does not have.
func (fs *FS) Symlink(_ <-chan struct{}, header *fuse.InHeader, _, name string, _ *fuse.EntryOut) fuse.Status {
	return fs.status("symlink", header.NodeId, name, fs.unsupported())
}

// Link implements link, which the wire does not have.
func (fs *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, _ *fuse.EntryOut) fuse.Status {
	return fs.status("link", in.NodeId, name, fs.unsupported())
}

// Readlink implements readlink: there are no symbolic links, the server follows
// its own.
func (fs *FS) Readlink(<-chan struct{}, *fuse.InHeader) ([]byte, fuse.Status) {
	return nil, fuse.EINVAL
}

// unsupported is the error of changes that the wire cannot express.
func (fs *FS) unsupported() error {
	if fs.spec.ReadOnly {
		return errReadOnly
	}
	return syscall.ENOTSUP
}
