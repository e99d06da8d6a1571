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

	mu     sync.Mutex // guards what follows; held while the server lists
	listed bool
	listing
	moved bool // somebody read from elsewhere than the start
}

// listing is what the server said is in a directory, without what is hidden.
type listing struct {
	entries []uftp.Info // by name; never changes
	tick    uint64      // when it was asked for
	at      time.Time   // and when it came
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
	done := missed
	if cookie == 0 {
		done = fs.awaitEarly(ctx, d.n)
	}
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
		if err := fs.list(ctx, d, &done); err != nil {
			return err
		}
		defer fs.walked(d.n, done) // when the kernel knows the first entries
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

// list gives d a listing: what was learned ahead, or what the server says.
func (fs *FS) list(ctx context.Context, d *dirHandle, done *outcome) error {
	var o *orders
	if !d.listed {
		o = fs.takeEarly(d.n, done)
	}
	if o == nil {
		l, err := fs.listNow(ctx, d.n)
		if err != nil {
			return err
		}
		_, above := fs.above(d.n)
		o = fs.newOrders(d.n, above, l)
	}
	d.listedEntries.Store(int64(len(o.entries)))
	fs.keepOrders(d.n, o)
	d.listed, d.moved, d.listing = true, false, o.listing
	return nil
}

// listNow reads a directory, whose entries gate the caller holds, from the server.
func (fs *FS) listNow(ctx context.Context, dir *node) (listing, error) {
	path, ok := fs.tree.path(dir)
	if !ok {
		return listing{}, errStale
	}
	// Nothing more gets hidden while we hold the names, but what is may go.
	hidden, tick := fs.tree.hidden(dir), fs.tick()
	entries, err := fs.server.List(ctx, path)
	if err != nil {
		return listing{}, err
	}
	return newListing(entries, hidden, tick), nil
}

// newListing is for what the server listed when it was asked at tick. What is hidden
// stays so.
func newListing(entries []uftp.Info, hidden map[string]*node, tick uint64) listing {
	seen := make([]uftp.Info, 0, len(entries))
	for _, e := range entries {
		if hidden[e.Name] == nil {
			seen = append(seen, e)
		}
	}
	sortListing(seen)
	return listing{seen, tick, time.Now()}
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
	if d.outdated(d.n) {
		return
	}
	n, err := fs.enter(d.n, info.Name, *info, d.tick, d.at)
	if err != nil {
		return
	}
	fs.entry(n, out, max(0, fs.spec.EntryTimeout-age))
}

// outdated reports whether we have changed names of dir after it was asked for l.
func (l *listing) outdated(dir *node) bool {
	dir.mu.Lock()
	defer dir.mu.Unlock()
	return dir.changed > l.tick
}
