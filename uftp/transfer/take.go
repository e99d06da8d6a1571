package transfer

import (
	"context"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// taker is a [Part] that asks for bytes when it sends them.
type taker interface {
	// take is WriteAt for n bytes at off. give, which may be called from other
	// goroutines until take returns, fills its argument with what is at an offset.
	take(ctx context.Context, off, n int64, give func(p []byte, off int64) error) error
}

// foreseer is a [Source] that likes to know what will be read soon.
type foreseer interface{ foresee(off, n int64) }

// give has the taker take n bytes at off from the source. An error of the source is
// returned as it is.
func (w *worker) give(ctx context.Context, off, n int64) error {
	if f, ok := w.src.(foreseer); ok {
		f.foresee(off, n)
	}
	var failed error // of the source
	err := w.taker.take(ctx, off, n, func(p []byte, off int64) error {
		failed = w.src.ReadAt(ctx, p, off)
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

// take implements taker.
func (p *remotePart) take(ctx context.Context, off, n int64, give func(p []byte, off int64) error) error {
	p.exists.Store(true)
	after, err := p.c.WriteFrom(ctx, p.path, []uftp.WriteSpan{{Off: off, Len: n}}, give)
	if err == nil {
		p.confirm(after.Size)
	}
	return err
}

// take implements taker.
func (u remoteUpdate) take(ctx context.Context, off, n int64, give func(p []byte, off int64) error) error {
	_, err := u.c.WriteFrom(ctx, u.name, []uftp.WriteSpan{{Off: off, Len: n}}, give)
	return err
}

// shiftedTaker is a shifted part that is a taker.
type shiftedTaker struct {
	shifted
	to taker
}

// take implements taker.
func (s shiftedTaker) take(ctx context.Context, off, n int64, give func(p []byte, off int64) error) error {
	return s.to.take(ctx, s.off+off, n, func(p []byte, at int64) error { return give(p, at-s.off) })
}

// foresee implements foreseer.
func (s localSource) foresee(off, n int64) { willNeed(s.f, off, n) }

// foresee implements foreseer.
func (c clipped) foresee(off, n int64) {
	if f, ok := c.Source.(foreseer); ok {
		f.foresee(c.off+off, n)
	}
}
