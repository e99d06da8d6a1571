package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// copyPiece is how much of a file is copied at once.
const copyPiece = 4 << 20

// cleanupTime bounds what is done after a failure or the end of the context.
const cleanupTime = 10 * time.Second

// Truncate gives an existing file the size. The protocol can empty a file and
// write past its end; to cut it elsewhere, its beginning is copied, through this
// client, to a temporary file beside it, which then takes the name: hard links
// and owner are not kept, the mode is. Bytes written to the file by others
// meanwhile are noticed and make it fail with ESTALE, or are lost if they come
// at the very end.
func (c *Client) Truncate(ctx context.Context, path string, size int64) error {
	const op = "truncate"
	p, err := checkRange(path, 0, size)
	if err != nil {
		return wrapError(op, path, err)
	}
	if c.cfg.ReadOnly {
		return wrapError(op, path, errReadOnly)
	}
	info, err := c.Stat(ctx, path)
	switch {
	case err != nil:
	case info.IsDir():
		err = syscall.EISDIR
	case size == info.Size:
	case size == 0:
		_, err = c.Create(ctx, path)
	case size > info.Size:
		_, err = c.WriteAt(ctx, path, []byte{0}, size-1)
	default:
		err = c.shrink(ctx, p, info, size)
	}
	return renameOp(op, path, err)
}

// renameOp makes err an error of the operation the caller asked for, unless it
// is about the way to the server.
func renameOp(op, path string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Op == opConnect || e.Op == opAuthenticate {
			return err
		}
		return &Error{Op: op, Path: path, Code: e.Code, Msg: e.Msg, Err: e.Err}
	}
	return wrapError(op, path, err)
}

// shrink replaces a file by its first size bytes.
func (c *Client) shrink(ctx context.Context, p string, info Info, size int64) (err error) {
	dir, _ := parent(p)
	tmp := child(dir, tempName())
	if _, err := c.Create(ctx, tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
			defer cancel()
			_ = c.Remove(ctx, tmp) // the error that counts is the first one
		}
	}()
	if err := c.copyHead(ctx, p, tmp, size); err != nil {
		return err
	}
	if err := c.Chmod(ctx, tmp, info.Mode); err != nil {
		return err
	}
	made, err := c.Stat(ctx, tmp)
	if err != nil {
		return err
	}
	if made.Size != size {
		return fmt.Errorf("%w: copy has %d bytes of %d", ErrUnavailable, made.Size, size)
	}
	now, err := c.Stat(ctx, p)
	if err != nil {
		return err
	}
	if now.Size != info.Size || !now.ModTime.Equal(info.ModTime) {
		return fmt.Errorf("file changed meanwhile: %w", syscall.ESTALE)
	}
	return c.Rename(ctx, tmp, p)
}

// copyHead writes the first size bytes of from into to.
func (c *Client) copyHead(ctx context.Context, from, to string, size int64) error {
	buf := make([]byte, min(size, copyPiece))
	for off := int64(0); off < size; {
		piece := buf[:min(int64(len(buf)), size-off)]
		if _, err := c.ReadAt(ctx, from, piece, off); err == io.EOF { //nolint:errorlint // as ReaderAt says
			return fmt.Errorf("file changed meanwhile: %w", syscall.ESTALE)
		} else if err != nil {
			return err
		}
		if _, err := c.WriteAt(ctx, to, piece, off); err != nil {
			return err
		}
		off += int64(len(piece))
	}
	return nil
}
