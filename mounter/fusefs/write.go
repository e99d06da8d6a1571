package fusefs

import (
	"context"
	"errors"
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Write implements write: the data is in the spool when it returns, and goes to
// the server behind the writer.
func (fs *FS) Write(interrupt <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	ctx, done := fs.request(interrupt)
	defer done()
	h, err := fs.handles.file(in.Fh)
	var off int64
	if err == nil {
		off, err = signed(in.Offset)
	}
	if err != nil {
		return 0, fs.status("write", in.NodeId, "", err)
	}
	// The kernel's own idea of the end may be old. What it writes back from
	// mapped pages has a place whatever the file was opened for.
	atEnd := in.Flags&syscall.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0
	n, err := fs.write(ctx, h, data, off, atEnd)
	if err == nil && in.Flags&syscall.O_DSYNC != 0 { // O_SYNC includes it
		if err := fs.sync(h.n); err != nil {
			return 0, fs.status("write", in.NodeId, "", err)
		}
	}
	if n > 0 {
		err = nil // a short write; the next one fails
	}
	return uint32(n), fs.status("write", in.NodeId, "", err) //nolint:gosec // n is at most a request
}

// write puts p into the spool, waiting for room if need be. It returns how much
// it took.
func (fs *FS) write(ctx context.Context, h *handle, p []byte, off int64, atEnd bool) (done int, err error) {
	switch {
	case fs.spec.ReadOnly:
		return 0, errReadOnly
	case !h.writable():
		return 0, syscall.EBADF
	}
	for done < len(p) {
		part := p[done:min(len(p), done+fs.spool.MaxWrite())]
		retry, err := fs.tryWrite(h.n, part, &off, atEnd && done == 0)
		if err != nil {
			return done, err
		}
		if retry != nil {
			if err := fs.awaitRoom(ctx, h.n, retry); err != nil {
				return done, err
			}
			continue
		}
		done += len(part)
		off += int64(len(part))
	}
	return done, nil
}

// tryWrite stores p, or returns what to wait on. With atEnd it sets off to the
// end of the file first.
func (fs *FS) tryWrite(n *node, p []byte, off *int64, atEnd bool) (retry <-chan struct{}, err error) {
	_, place := fs.tree.status(n)
	if place == Lost {
		return nil, errStale
	}
	if retry, err = fs.store(n, p, off, atEnd); retry == nil && err == nil {
		fs.back.mark(fs, n)
	}
	return retry, err
}

func (fs *FS) store(n *node, p []byte, off *int64, atEnd bool) (retry <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if atEnd {
		*off = max(n.info.Size, fs.spool.End(n.id))
	}
	if *off < 0 || *off > math.MaxInt64-int64(len(p)) {
		return nil, syscall.EFBIG
	}
	ok, retry := fs.spool.TryWrite(n.id, p, *off)
	if !ok {
		return retry, nil
	}
	n.wrote = now()
	return nil, nil
}

// awaitRoom waits until there may be room in the spool, as long as the volume
// waits for a server, and not for what waiting does not mend: if the server
// refuses what takes the room, a disk is full, say, or was waited for in vain by
// what takes it, that is the error. If uploads of n fail otherwise, that is why
// there is none in the end.
func (fs *FS) awaitRoom(ctx context.Context, n *node, retry <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, fs.spec.IOTimeout)
	defer cancel()
	fs.back.press(+1)
	defer fs.back.press(-1)
	for waiting := true; waiting; {
		failed, err := fs.hopeless(n)
		if err != nil {
			return err
		}
		select {
		case <-retry:
			return nil
		case <-failed:
		case <-ctx.Done():
			waiting = false
		}
	}
	n.mu.Lock()
	failure := n.failure
	n.mu.Unlock()
	if failure != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return failure
	}
	return ctx.Err()
}
