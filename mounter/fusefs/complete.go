package fusefs

import (
	"context"
	"errors"
	"sync"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// mostIncomplete bounds how many files wait to be completed on the disk.
const mostIncomplete = 64

// completer completes files on the disk behind their readers, one at a time. The
// disk may have been too slow for a reader, and it is whole files that the kernel
// can read itself.
type completer struct {
	mu      sync.Mutex // guards what follows
	waiting []*node    // each referred to
	running bool
}

// completeBehind completes what h has read, which was closed, if it is worth it.
func (fs *FS) completeBehind(h *handle) {
	f := &fs.completer
	if fs.cfg.Disk == nil || h.passed != nil || !reads(h.flags) || fs.size(h.n) < passFrom || fs.ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) >= mostIncomplete {
		return
	}
	fs.tree.ref(h.n)
	f.waiting = append(f.waiting, h.n)
	if !f.running {
		f.running = true
		fs.group.Go(fs.completeFiles)
	}
}

func (f *completer) next() *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		f.running = false
		return nil
	}
	n := f.waiting[0]
	f.waiting = f.waiting[1:]
	return n
}

func (fs *FS) completeFiles() {
	for n := fs.completer.next(); n != nil; n = fs.completer.next() {
		if err := fs.completeFile(n); err != nil && !errors.Is(err, errMoved) && fs.ctx.Err() == nil {
			fs.log.Debug("file not completed on the disk", "err", err)
		}
		fs.tree.unref(n)
	}
}

func (fs *FS) completeFile(n *node) error {
	n.mu.Lock()
	key := blockcache.Key{File: n.id, Version: n.version()}
	n.mu.Unlock()
	x, ok := fs.onDisk(key)
	if !ok {
		return nil
	}
	return fs.cfg.Disk.Fill(fs.ctx, x, func(ctx context.Context, off int64, p []byte) error {
		return fs.fetch(ctx, blockcache.Request{Key: key, Off: off, Buf: p, Ahead: true})
	})
}
