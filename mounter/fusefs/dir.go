package fusefs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// dirHandle is an open directory, with the listing that its reader goes
// through: whatever happens meanwhile, he sees each entry once.
type dirHandle struct {
	id uint64
	n  *node

	listedEntries atomic.Int64 // as many as entries has

	mu      sync.Mutex // guards what follows; held while the server lists
	listed  bool
	entries []uftp.Info
	tick    uint64    // when the listing was asked for
	at      time.Time // and when it came
	moved   bool      // somebody read from elsewhere than the start
}

// Cookies: 0 stands before ".", 1 before "..", 2+i before the i-th entry.
const firstEntry = 2

// OpenDir implements opendir. The listing is made when it is read.
func (fs *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, err := fs.directory(in.NodeId)
	if err != nil {
		return fs.status("opendir", in.NodeId, "", err)
	}
	d := &dirHandle{n: n}
	fs.tree.ref(n)
	fs.handles.addDir(d)
	out.Fh = d.id
	return fuse.OK
}

// ReleaseDir implements closedir.
func (fs *FS) ReleaseDir(in *fuse.ReleaseIn) {
	if _, d := fs.handles.drop(in.Fh); d != nil {
		fs.tree.unref(d.n)
	}
}

// ReadDir implements readdir.
func (fs *FS) ReadDir(interrupt <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.readDir(interrupt, in, func(_ *dirHandle, e fuse.DirEntry, _ *uftp.Info) bool {
		return out.AddDirEntry(e)
	})
}

// ReadDirPlus implements readdir together with a lookup of each entry. The
// attributes come from the one listing, as long as it is worth believing.
func (fs *FS) ReadDirPlus(interrupt <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.readDir(interrupt, in, func(d *dirHandle, e fuse.DirEntry, info *uftp.Info) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && info != nil {
			fs.lookupListed(d, info, entry)
		}
		return entry != nil
	})
}

// readDir passes entries from in.Offset on to add until it has no more room.
func (fs *FS) readDir(interrupt <-chan struct{}, in *fuse.ReadIn, add func(*dirHandle, fuse.DirEntry, *uftp.Info) bool) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	d, err := fs.handles.dir(in.Fh)
	if err == nil {
		err = fs.readEntries(ctx, d, in.Offset, add)
	}
	return fs.status("readdir", in.NodeId, "", err)
}

func (fs *FS) readEntries(ctx context.Context, d *dirHandle, cookie uint64, add func(*dirHandle, fuse.DirEntry, *uftp.Info) bool) error {
	// Names do not change while entries are turned into nodes.
	release, err := fs.lock(ctx, claim{d.n, shared, shared})
	if err != nil {
		if _, place := fs.tree.status(d.n); place == Removed {
			return nil // an empty directory, as far as it still is one
		}
		return err
	}
	defer release()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.listed || cookie == 0 && d.moved {
		if err := fs.list(ctx, d); err != nil {
			return err
		}
	}
	d.moved = d.moved || cookie > 0
	for ; cookie < firstEntry+uint64(len(d.entries)); cookie++ {
		e, info := fs.dirEntry(d, cookie)
		if !add(d, e, info) {
			break
		}
	}
	return nil
}

// list reads the directory from the server. What is hidden stays so.
func (fs *FS) list(ctx context.Context, d *dirHandle) error {
	path, ok := fs.tree.path(d.n)
	if !ok {
		return errStale
	}
	// Nothing more gets hidden while we hold the names, but what is may go.
	hidden := fs.tree.hidden(d.n)
	tick := fs.tick()
	entries, err := fs.server.List(ctx, path)
	if err != nil {
		return err
	}
	d.entries = d.entries[:0:0]
	for _, e := range entries {
		if hidden[e.Name] == nil {
			d.entries = append(d.entries, e)
		}
	}
	sortListing(d.entries)
	d.listedEntries.Store(int64(len(d.entries)))
	fs.keepOrder(d.n, d.entries)
	d.listed, d.moved, d.tick, d.at = true, false, tick, time.Now()
	return nil
}

// dirEntry returns the entry behind a cookie. info is nil for "." and "..".
func (fs *FS) dirEntry(d *dirHandle, cookie uint64) (fuse.DirEntry, *uftp.Info) {
	e := fuse.DirEntry{Off: cookie + 1, Mode: syscall.S_IFDIR}
	switch cookie {
	case 0:
		e.Name, e.Ino = ".", d.n.ino
		return e, nil
	case 1:
		e.Name, e.Ino = "..", fs.tree.inoAbove(d.n)
		return e, nil
	}
	info := &d.entries[cookie-firstEntry]
	e.Name, e.Ino = info.Name, fs.tree.inoIn(d.n, info.Name)
	if !info.IsDir() {
		e.Mode = syscall.S_IFREG
	}
	return e, info
}

// lookupListed makes a listed entry a looked up one, if the listing is recent
// and no name of the directory was changed after it. If not the kernel asks.
func (fs *FS) lookupListed(d *dirHandle, info *uftp.Info, out *fuse.EntryOut) {
	age := time.Since(d.at)
	if age >= max(fs.spec.EntryTimeout, fs.spec.AttrTimeout) || checkName(info.Name) != nil {
		return
	}
	d.n.mu.Lock()
	outdated := d.n.changed > d.tick
	d.n.mu.Unlock()
	if outdated {
		return
	}
	n, err := fs.enter(d.n, info.Name, *info, d.tick, d.at)
	if err != nil {
		return
	}
	fs.entry(n, out, max(0, fs.spec.EntryTimeout-age))
}
