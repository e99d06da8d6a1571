package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// cleanupTime is how long tidying up may take after an interruption.
const cleanupTime = 10 * time.Second

// remotePart is a part on a server.
type remotePart struct {
	c            Client
	path, target string
	size         int64
	exists       atomic.Bool  // perhaps
	seen         atomic.Int64 // the largest size that the client saw when a write was confirmed; 0 if it saw none
	committed    bool
}

// Size implements [Part].
func (p *remotePart) Size() int64 { return p.size }

// WriteAt implements [Part].
func (p *remotePart) WriteAt(ctx context.Context, b []byte, off int64) error {
	p.exists.Store(true)
	if len(b) == 0 {
		_, err := p.c.Create(ctx, p.path)
		return err
	}
	n, err := p.c.WriteAt(ctx, p.path, b, off)
	if off == 0 && p.size == 0 {
		p.confirm(int64(n))
	}
	return err
}

// confirm notes how large the part is at least.
func (p *remotePart) confirm(size int64) {
	for {
		old := p.seen.Load()
		if old >= size || p.seen.CompareAndSwap(old, size) {
			return
		}
	}
}

// Hash implements [Part]: the server computes it.
func (p *remotePart) Hash(ctx context.Context, algo string) (string, error) {
	return p.c.Hash(ctx, p.path, algo, 0, -1)
}

// Commit implements [Part].
func (p *remotePart) Commit(ctx context.Context, size int64, a uftp.Attr) error {
	mode, err := p.check(ctx, size)
	if err != nil {
		return err
	}
	a.SetMode = a.SetMode && mode != a.Mode.Perm()
	if err := set(ctx, p.c, p.path, a); err != nil {
		return err
	}
	if err := p.c.Rename(ctx, p.path, p.target); err != nil {
		return err
	}
	p.committed = true
	return nil
}

// noMode is a mode that no file has.
const noMode = fs.ModeIrregular

// check looks at the size, unless that was seen when a write was confirmed, and
// returns the mode if it has come to know it. A part only grows, so the largest
// size that was seen is what it had last.
func (p *remotePart) check(ctx context.Context, size int64) (fs.FileMode, error) {
	if size > 0 && p.seen.Load() == size {
		return noMode, nil
	}
	info, err := p.c.Stat(ctx, p.path)
	if err != nil {
		return 0, err
	}
	if info.Size != size {
		return 0, fmt.Errorf("%w: %d bytes on the server after writing %d", io.ErrShortWrite, info.Size, size)
	}
	return info.Mode.Perm(), nil
}

// Close implements [Part]. It removes the part also after an interruption.
func (p *remotePart) Close(ctx context.Context, keep bool) error {
	if p.committed || keep || !p.exists.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := p.c.Remove(ctx, p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
