package fusefs

import (
	"context"
	"os"
	"path"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

// Disk keeps what was read for later mounts: the methods of *diskcache.Cache
// that a file system needs. What it cannot do it says no to.
type Disk interface {
	Get(x diskcache.Content, off int64, p []byte) bool
	Put(x diskcache.Content, off int64, p []byte, done func()) bool
	Forget(x diskcache.Content)
	Complete(x diskcache.Content) (*os.File, bool)
	Keep(x diskcache.Content) (done func())
	Fill(ctx context.Context, x diskcache.Content, fetch func(ctx context.Context, off int64, p []byte) error) error
}

// diskTier is a Disk behind the block cache.
type diskTier struct {
	fs   *FS
	disk Disk
}

// Get implements [blockcache.Tier].
func (d diskTier) Get(_ context.Context, r blockcache.Request) bool {
	x, ok := d.fs.onDisk(r.Key)
	return ok && d.disk.Get(x, r.Off, r.Buf)
}

// Put implements [blockcache.Tier].
func (d diskTier) Put(r blockcache.Request, done func()) bool {
	x, ok := d.fs.onDisk(r.Key)
	return ok && d.disk.Put(x, r.Off, r.Buf, done)
}

// onDisk returns what a content is called on the disk, if it may be there: not
// if we have changed the file, or moved it or a directory above it. It may then
// have the size and time of what had the path before.
func (fs *FS) onDisk(key blockcache.Key) (diskcache.Content, bool) {
	n := fs.tree.get(key.File)
	if n == nil {
		return diskcache.Content{}, false
	}
	name, ok := fs.tree.steadyPath(n)
	if !ok {
		return diskcache.Content{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.version() != key.Version || n.changed > 0 || n.changing > 0 {
		return diskcache.Content{}, false
	}
	return fs.diskContent(name, key.Version), true
}

func (fs *FS) diskContent(name string, v blockcache.Version) diskcache.Content {
	return diskcache.Content{Path: path.Join(fs.spec.Path, name), Size: v.Size, ModTime: time.Unix(0, v.ModTime)}
}

// forgetDisk sees to it that nobody finds on the disk what had n's path, size and
// time before a change of ours.
func (fs *FS) forgetDisk(n *node) {
	name, ok := fs.tree.path(n)
	if fs.cfg.Disk == nil || n.dir || !ok {
		return
	}
	n.mu.Lock()
	version := n.version()
	n.mu.Unlock()
	fs.cfg.Disk.Forget(fs.diskContent(name, version))
}
