package fusefs

import (
	"context"
	"fmt"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// truncate gives n another size. It does what has to be done on the server at
// once: after it the server's size and the end of the dirty data together are
// the new size. The caller holds n's op gate exclusively.
func (fs *FS) truncate(ctx context.Context, n *node, path string, size int64) error {
	if err := fs.verify(ctx, n, path); err != nil { // others may have written behind the end
		return err
	}
	n.mu.Lock()
	onServer := n.info.Size
	// Not while a failed upload may have left more there than we know.
	if size > 0 && !n.unsettled && (size == onServer || size > onServer && fs.spool.EndBelow(n.id, size) == size) {
		// Only dirty data is concerned. (An empty file emptied again gets
		// another time, so that goes to the server.)
		fs.spool.Truncate(n.id, size)
		n.wrote = now()
		n.mu.Unlock()
		return nil
	}
	n.mu.Unlock()
	return fs.change(ctx, n, path, func() (known *uftp.Info, err error) {
		err = fs.withWriteMode(ctx, n, path, func() error {
			if size > 0 {
				return fs.server.Truncate(ctx, path, size)
			}
			info, err := fs.server.Create(ctx, path) // also if it is empty: it gets another time
			known = &info
			return err
		})
		return known, err
	}, func(_, after uftp.Info) error {
		if after.Size != size {
			return fmt.Errorf("server has %d bytes after truncation to %d: %w", after.Size, size, io.ErrShortWrite)
		}
		fs.spool.Truncate(n.id, size)
		return nil
	})
}

// Fallocate implements fallocate without flags as far as it shows: the file
// grows. Nothing can be reserved on the server.
func (fs *FS) Fallocate(interrupt <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	ctx, done := fs.request(interrupt)
	defer done()
	return fs.status("fallocate", in.NodeId, "", fs.fallocate(ctx, in))
}

func (fs *FS) fallocate(ctx context.Context, in *fuse.FallocateIn) error {
	h, err := fs.handles.file(in.Fh)
	if err != nil {
		return err
	}
	end, err := signed(in.Offset + in.Length)
	switch {
	case err != nil:
		return err
	case fs.spec.ReadOnly:
		return errReadOnly
	case !h.writable():
		return syscall.EBADF
	case in.Mode != 0:
		return syscall.ENOTSUP
	}
	path, release, err := fs.lockPath(ctx, h.n, exclusive)
	if err != nil {
		return err
	}
	defer release()
	if end <= fs.size(h.n) {
		return nil
	}
	return fs.truncate(fs.ctx, h.n, path, end)
}

// size returns the size of a file that programs see.
func (fs *FS) size(n *node) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.info.Size, fs.spool.End(n.id))
}
