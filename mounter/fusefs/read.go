package fusefs

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/spool"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// errMoved means that a file's content became another while it was read: by us,
// so there is nothing wrong, and the reader looks again.
var errMoved = errors.New("content changed")

// maxRetries bounds how often a read starts again because of writers.
const maxRetries = 1000

// Read implements read, and reading for the kernel's page cache.
func (fs *FS) Read(interrupt <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	ctx, done := fs.request(interrupt)
	defer done()
	h, err := fs.handles.file(in.Fh)
	n := 0
	if err == nil {
		var off int64
		if off, err = signed(in.Offset); err == nil {
			n, err = fs.read(ctx, h, buf[:min(len(buf), int(in.Size))], off)
		}
	}
	if err != nil {
		return nil, fs.status("read", in.NodeId, "", err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// ReadView is Read without a copy, where all that was asked for can be had from
// the cache's memory: it sets v to it, which the caller releases. If not it
// returns false, and Read does it.
func (fs *FS) ReadView(interrupt <-chan struct{}, in *fuse.ReadIn, v *blockcache.View) (fuse.Status, bool) {
	ctx, done := fs.request(interrupt)
	defer done()
	h, err := fs.handles.file(in.Fh)
	if err != nil {
		return fs.status("read", in.NodeId, "", err), true
	}
	off, err := signed(in.Offset)
	if err != nil {
		return fs.status("read", in.NodeId, "", err), true
	}
	version, err := fs.clean(h)
	if err != nil {
		return 0, false
	}
	want := max(0, min(int64(in.Size), version.Size-off))
	got, err := h.reader.View(ctx, blockcache.Key{File: h.n.id, Version: version}, off, want, v)
	switch {
	case err == nil && got == want:
		return fuse.OK, true
	case err == nil:
		v.Release()
		return 0, false
	case errors.Is(err, errMoved), errors.Is(err, blockcache.ErrStale):
		return 0, false
	}
	return fs.status("read", in.NodeId, "", err), true
}

// errDirty means that what the server has is not all of a file.
var errDirty = errors.New("dirty")

// clean returns the version of h's file, if it is what the server has.
func (fs *FS) clean(h *handle) (blockcache.Version, error) {
	_, place := fs.tree.status(h.n)
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	switch {
	case h.epoch != h.n.epoch || place == Lost:
		return blockcache.Version{}, errStale
	case fs.spool.Dirty(h.n.id):
		return blockcache.Version{}, errDirty
	}
	return h.n.version(), nil
}

// read returns the file as it is at one moment of the call: the server's
// content with the dirty data over it.
func (fs *FS) read(ctx context.Context, h *handle, p []byte, off int64) (int, error) {
	for range maxRetries {
		p, version, gaps, err := fs.overlay(h, p, off)
		if err != nil {
			return 0, err
		}
		err = fs.fill(ctx, h, version, gaps, p, off)
		if err == nil {
			return len(p), nil
		}
		if !errors.Is(err, errMoved) && !errors.Is(err, blockcache.ErrStale) {
			return 0, err
		}
	}
	return 0, syscall.EAGAIN
}

// overlay cuts p off at the end of the file, copies the dirty data into it, and
// returns what is missing and of which content.
func (fs *FS) overlay(h *handle, p []byte, off int64) ([]byte, blockcache.Version, []spool.Range, error) {
	_, place := fs.tree.status(h.n)
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.epoch != h.n.epoch || place == Lost {
		return nil, blockcache.Version{}, nil, errStale
	}
	size := max(h.n.info.Size, fs.spool.End(h.n.id))
	p = p[:max(0, min(int64(len(p)), size-off))]
	return p, h.n.version(), fs.spool.Overlay(h.n.id, p, off), nil
}

// fill reads gaps of the dirty data from the server. What lies behind its end of
// the file is a hole before dirty data.
func (fs *FS) fill(ctx context.Context, h *handle, version blockcache.Version, gaps []spool.Range, p []byte, off int64) error {
	key := blockcache.Key{File: h.n.id, Version: version}
	for _, g := range gaps {
		part := p[g.Off-off : g.End()-off]
		n := max(0, min(g.Len, version.Size-g.Off))
		clear(part[n:])
		if n == 0 {
			continue
		}
		if _, err := h.reader.ReadAt(ctx, key, part[:n], g.Off); err != nil {
			return err
		}
	}
	return nil
}

// fetch is how the block cache gets bytes from the server: all of them, and of
// the content that it asks for. It compares versions after the read, because
// the server opens files anew for every read.
func (fs *FS) fetch(ctx context.Context, r blockcache.Request) error {
	n := fs.tree.get(r.Key.File)
	if n == nil {
		return errStale
	}
	path, release, err := fs.lockPath(ctx, n, shared)
	if err != nil {
		return err
	}
	defer release()
	if !n.has(r.Key.Version) {
		return errMoved
	}
	tick, at := fs.tick(), time.Now()
	got, after, err := fs.server.Fetch(ctx, uftp.Read{Path: path, Buf: r.Buf, Off: r.Off, Ahead: r.Ahead, Order: r.Order})
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return fs.lose(n, err)
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case after.Size != r.Key.Version.Size || after.ModTime.UnixNano() != r.Key.Version.ModTime:
		if err := fs.ask(ctx, n, path); err != nil {
			return err
		}
		return errMoved
	case !n.has(r.Key.Version):
		return errMoved
	case got < len(r.Buf):
		return io.ErrUnexpectedEOF
	}
	n.confirm(after, tick, at)
	return nil
}

// has reports whether n's content on the server is still version.
func (n *node) has(version blockcache.Version) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.version() == version
}

// now is the time of a write, in the resolution that it will have once it is on
// the server.
func now() time.Time { return time.Now().Truncate(time.Second) }
