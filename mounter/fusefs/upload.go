package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/spool"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// uploadPiece is the most bytes sent in one call.
const uploadPiece = 4 << 20

// upload sends all dirty data of n to the server, and returns when the server
// has confirmed it. It notes how that went.
func (fs *FS) upload(ctx context.Context, n *node) error {
	if !fs.spool.Dirty(n.id) {
		fs.settle(n, nil)
		return nil
	}
	path, release, err := fs.lockPath(ctx, n, exclusive)
	if err == nil {
		err = fs.uploadTo(ctx, n, path)
		release()
	}
	fs.settle(n, err)
	return err
}

// uploadTo is upload for a caller that holds n's op gate exclusively. Either all
// that was dirty at the start is on the server then, or it is still dirty.
func (fs *FS) uploadTo(ctx context.Context, n *node, path string) error {
	if !fs.spool.Dirty(n.id) {
		return nil
	}
	if err := fs.verify(ctx, n, path); err != nil {
		return err
	}
	ranges := fs.spool.Begin(n.id)
	end := ranges[len(ranges)-1].End()
	err := fs.change(ctx, n, path, func() error {
		return fs.withWriteMode(ctx, n, path, func() error { return fs.send(ctx, n, path, ranges) })
	}, func(before, after uftp.Info) error {
		if after.Size < end {
			return fmt.Errorf("server has %d bytes of %d: %w", after.Size, end, io.ErrShortWrite)
		}
		if after.Size > max(before.Size, end) {
			n.epoch++ // others wrote behind our end
		}
		// In the same moment in which readers see the new content.
		fs.spool.Commit(n.id)
		return nil
	})
	if err != nil {
		fs.spool.Abort(n.id)
	}
	return err
}

// verify makes sure that the file is still there before we write to it: the
// server would make a new one.
func (fs *FS) verify(ctx context.Context, n *node, path string) error {
	n.mu.Lock()
	lately := !n.at.IsZero() && time.Since(n.at) < min(time.Second, fs.spec.AttrTimeout)
	n.mu.Unlock()
	if lately {
		return nil
	}
	return fs.ask(ctx, n, path)
}

// send writes dirty ranges to the server.
func (fs *FS) send(ctx context.Context, n *node, path string, ranges []spool.Range) error {
	var longest int64
	for _, r := range ranges {
		longest = max(longest, r.Len)
	}
	buf := make([]byte, min(longest, uploadPiece))
	for _, r := range ranges {
		for off := r.Off; off < r.End(); {
			p := buf[:min(int64(len(buf)), r.End()-off)]
			if err := fs.spool.Copy(n.id, p, off); err != nil {
				return err
			}
			if _, err := fs.server.WriteAt(ctx, path, p, off); err != nil {
				return err
			}
			off += int64(len(p))
		}
	}
	return nil
}

// withWriteMode runs f, which writes to a file. A file that was opened for
// writing stays writable for who opened it when its mode forbids writing
// (created with 0444, chmod after open), but the server opens it anew each
// time: then it gets another mode for as long as f takes.
func (fs *FS) withWriteMode(ctx context.Context, n *node, path string, f func() error) error {
	err := f()
	n.mu.Lock()
	mode := n.info.Mode
	n.mu.Unlock()
	if !errors.Is(err, iofs.ErrPermission) || mode&0o200 != 0 {
		return err
	}
	if chmodErr := fs.server.Chmod(ctx, path, mode|0o200); chmodErr != nil {
		return err
	}
	err = f()
	return errors.Join(err, fs.server.Chmod(ctx, path, mode))
}

// away reports whether err says that the server could not be asked in time.
func away(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, uftp.ErrUnavailable)
}

// change runs f, which changes n on the server, and asks the server what came of
// it. Meanwhile nothing is believed that is heard of n otherwise. accept, if not
// nil, is told what n was and is, under n.mu, before anybody else sees it. The
// caller holds n's op gate exclusively.
func (fs *FS) change(ctx context.Context, n *node, path string, f func() error, accept func(before, after uftp.Info) error) error {
	n.mu.Lock()
	n.changing++
	before := n.info
	n.mu.Unlock()

	err := f()
	var after uftp.Info
	statErr := err
	if !away(err) { // a server that does not answer would take as long again
		after, statErr = fs.server.Stat(ctx, path)
	}

	gone := errors.Is(statErr, iofs.ErrNotExist)
	n.mu.Lock()
	n.changing--
	if statErr == nil {
		n.install(after, fs.tick(), time.Now())
	} else {
		n.changed, n.at, n.unsettled = fs.tick(), time.Time{}, true
		n.seq++
	}
	if err == nil {
		err = statErr
	}
	if err == nil && accept != nil {
		err = accept(before, after)
	}
	n.mu.Unlock()
	fs.cache.Invalidate(n.id)
	if gone {
		return fs.lose(n, statErr)
	}
	return err
}
