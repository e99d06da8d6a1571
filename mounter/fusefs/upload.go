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

// littlePiece is less than what is worth a batch of its own while more may come.
const littlePiece = 1 << 20

// upload sends the dirty data of n to the server, and returns when the server
// has confirmed all that was dirty at the start. It notes how that went.
func (fs *FS) upload(ctx context.Context, n *node) error {
	return fs.uploadUntil(ctx, n, fs.spool.Mark(n.id))
}

// uploadOn is upload that goes on with what is written meanwhile, until nothing
// is left or somebody else waits for the file.
func (fs *FS) uploadOn(ctx context.Context, n *node) error {
	return fs.uploadUntil(ctx, n, spool.Always)
}

func (fs *FS) uploadUntil(ctx context.Context, n *node, mark spool.Mark) error {
	if !fs.spool.DirtyUntil(n.id, mark) && !n.isUploading() {
		fs.settle(n, nil)
		return nil
	}
	path, release, err := fs.lockPath(ctx, n, exclusive)
	if err == nil {
		err = fs.uploadTo(ctx, n, path, mark)
		release()
	}
	fs.settle(n, err)
	return err
}

// uploadTo uploads what was written until mark, for a caller that holds n's op
// gate exclusively. What the server has not confirmed when it returns is still
// dirty.
func (fs *FS) uploadTo(ctx context.Context, n *node, path string, mark spool.Mark) error {
	if !fs.spool.DirtyUntil(n.id, mark) {
		return nil
	}
	if err := fs.verify(ctx, n, path); err != nil {
		return err
	}
	n.mu.Lock()
	n.uploading = true
	n.mu.Unlock()
	var end int64
	arrived := false
	err := fs.change(ctx, n, path, func() (last *uftp.Info, err error) {
		err = fs.withWriteMode(ctx, n, path, func() error {
			last, err = fs.send(ctx, n, path, mark)
			arrived = err == nil
			return err
		})
		n.mu.Lock()
		defer n.mu.Unlock()
		end = n.info.Size // as far as batches made it
		if last != nil {
			last.Mode = n.info.Mode // a write does not change it, and is not told
		}
		return last, err
	}, func(before, after uftp.Info) error {
		if after.Size < end {
			return fmt.Errorf("server has %d bytes of %d: %w", after.Size, end, io.ErrShortWrite)
		}
		if after.Size > max(before.Size, end) {
			n.epoch++ // others wrote behind our end
		}
		return nil
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uploading = false
	if err != nil && arrived {
		n.untold = err // there is nothing to be sent again, so nobody would ever hear of it
	}
	return err
}

// isUploading reports whether somebody uploads n: also when the last byte has
// arrived, he may still find that something is wrong.
func (n *node) isUploading() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.uploading
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

// send uploads batches, several at a time, until nothing is left of what was
// written until mark. If that is always, there may be more for ever: then it
// ends when little is left, or somebody else waits for the file. When a batch
// fails no other is begun, and those under way come to their own ends. What the
// server said last of the file is returned if nothing was under way after that.
func (fs *FS) send(ctx context.Context, n *node, path string, mark spool.Mark) (last *uftp.Info, err error) {
	size, most := pieces(fs.spec.DirtyLimit, fs.cfg.RoundTrip())
	type result struct {
		after uftp.Info
		err   error
	}
	ended := make(chan result, most)
	for under, sent := 0, 0; ; {
		batch, ok := spool.Batch{}, false
		if err == nil && under < most {
			batch, ok = fs.spool.Take(n.id, size, mark)
		}
		if ok && mark == spool.Always && sent > 0 && (batch.Bytes() < min(littlePiece, size) || n.op.wanted()) {
			fs.spool.Abort(n.id, batch)
			ok = false
		}
		switch {
		case ok:
			under++
			sent++
			go func() {
				after, err := fs.sendBatch(ctx, n, path, batch)
				ended <- result{after, err}
			}()
		case under > 0: // what is left may wait for older bytes on their way to its place
			r := <-ended
			if err == nil {
				err = r.err
			}
			if under--; sent == 1 && r.err == nil {
				last = &r.after
			}
		default:
			if sent != 1 {
				last = nil
			}
			return last, err
		}
	}
}

// sendBatch uploads one batch. Readers of the file see no difference: what is
// the server's from now on was the spool's before.
func (fs *FS) sendBatch(ctx context.Context, n *node, path string, batch spool.Batch) (uftp.Info, error) {
	after, err := fs.put(ctx, n.id, path, batch)
	if err != nil {
		fs.spool.Abort(n.id, batch)
		return after, err
	}
	n.mu.Lock()
	n.info.Size = max(n.info.Size, batch.End())
	n.seq++
	fs.spool.Commit(n.id, batch)
	n.mu.Unlock()
	fs.back.arrived(n)
	return after, nil
}

// put writes a batch of the spool to the server, which must have all of it then.
// Bytes that are written over meanwhile may go there as they are by then: they
// are dirty still, and sent again.
func (fs *FS) put(ctx context.Context, id uint64, path string, batch spool.Batch) (uftp.Info, error) {
	spans := make([]uftp.WriteSpan, len(batch.Ranges))
	for i, r := range batch.Ranges {
		spans[i] = uftp.WriteSpan{Off: r.Off, Len: r.Len}
	}
	sums := fs.newSums(spans)
	after, err := fs.server.WriteFrom(ctx, path, spans, func(p []byte, off int64) error {
		if err := fs.spool.Copy(id, p, off); err != nil {
			return err
		}
		sums.add(p, off)
		return nil
	})
	if err == nil && after.Size < batch.End() {
		err = fmt.Errorf("server has %d bytes of %d: %w", after.Size, batch.End(), io.ErrShortWrite)
	}
	if err == nil {
		err = fs.compare(ctx, path, sums)
	}
	return after, err
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
	chmod := func(mode iofs.FileMode) error {
		_, err := fs.server.SetAttr(ctx, path, uftp.Attr{Mode: mode, SetMode: true})
		return err
	}
	if chmod(mode|0o200) != nil {
		return err
	}
	err = f()
	return errors.Join(err, chmod(mode))
}

// away reports whether err says that the server could not be asked in time.
func away(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, uftp.ErrUnavailable)
}

// change runs f, which changes n on the server, and asks the server what came of
// it, unless f knows. Meanwhile nothing is believed that is heard of n otherwise.
// accept, if not nil, is told what n was and is, under n.mu, before anybody else sees
// it. The caller holds n's op gate exclusively.
func (fs *FS) change(ctx context.Context, n *node, path string, f func() (*uftp.Info, error), accept func(before, after uftp.Info) error) error {
	n.mu.Lock()
	n.changing++
	before := n.info
	n.mu.Unlock()

	known, err := f()
	var after uftp.Info
	statErr := err
	switch {
	case err == nil && known != nil:
		after = *known
		after.Name = before.Name
	case !away(err): // a server that does not answer would take as long again
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
	fs.forgetDisk(n)
	if gone {
		return fs.lose(n, statErr)
	}
	return err
}
