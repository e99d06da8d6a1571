package fusefs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Remote is the server's side: the methods of *uftp.Client that a file system
// needs, with its errors. Paths are relative to the volume's root.
type Remote interface {
	Stat(ctx context.Context, path string) (uftp.Info, error)
	StatSome(ctx context.Context, paths []string) []uftp.Looked
	List(ctx context.Context, dir string) ([]uftp.Info, error)
	ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error)
	Fetch(ctx context.Context, r uftp.Read) (n int, after uftp.Info, err error)
	WriteFrom(ctx context.Context, path string, spans []uftp.WriteSpan, fill func(p []byte, off int64) error) (after uftp.Info, err error)
	Hash(ctx context.Context, path, algo string, off, n int64) (string, error)
	Create(ctx context.Context, path string) (uftp.Info, error)
	Truncate(ctx context.Context, path string, size int64) error
	NewDir(ctx context.Context, path string) (uftp.Info, error)
	Rmdir(ctx context.Context, path string) error
	Remove(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string) error
	SetAttr(ctx context.Context, path string, a uftp.Attr) (uftp.Info, error)
}

// bounded is a Remote that gives every call of another at most timeout, but for
// two. Truncate may copy a large file: piece by piece, each of which the client
// gives as long. WriteFrom may wait behind many other writes: it ends when none of
// them has begun or moved for the timeout, and until then the client's own bound
// is the only one.
type bounded struct {
	remote  Remote
	timeout time.Duration
	moved   *atomic.Int64 // when a write began or its bytes were asked for last, in nanoseconds
}

func call[T any](ctx context.Context, b bounded, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return f(ctx)
}

func (b bounded) do(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return f(ctx)
}

func (b bounded) Stat(ctx context.Context, path string) (uftp.Info, error) {
	return call(ctx, b, func(ctx context.Context) (uftp.Info, error) { return b.remote.Stat(ctx, path) })
}

func (b bounded) StatSome(ctx context.Context, paths []string) []uftp.Looked {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.remote.StatSome(ctx, paths)
}

func (b bounded) List(ctx context.Context, dir string) ([]uftp.Info, error) {
	return call(ctx, b, func(ctx context.Context) ([]uftp.Info, error) { return b.remote.List(ctx, dir) })
}

func (b bounded) ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error) {
	return call(ctx, b, func(ctx context.Context) ([]uftp.Listing, error) { return b.remote.ListSome(ctx, dirs) })
}

func (b bounded) Fetch(ctx context.Context, r uftp.Read) (n int, after uftp.Info, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.remote.Fetch(ctx, r)
}

// WriteFrom ends when no write, of any file, has begun or moved for the timeout.
func (b bounded) WriteFrom(ctx context.Context, path string, spans []uftp.WriteSpan, fill func(p []byte, off int64) error) (uftp.Info, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.moved.Store(time.Now().UnixNano())
	var watch sync.WaitGroup
	defer watch.Wait()
	done := make(chan struct{})
	defer close(done)
	watch.Go(func() { b.watch(done, func() { cancel(context.DeadlineExceeded) }) })
	after, err := b.remote.WriteFrom(ctx, path, spans, func(p []byte, off int64) error {
		b.moved.Store(time.Now().UnixNano())
		return fill(p, off)
	})
	if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		err = fmt.Errorf("write %s: %w (%s)", path, context.DeadlineExceeded, err.Error())
	}
	return after, err
}

// watch calls expire, unless done, when nothing has moved for the timeout.
func (b bounded) watch(done <-chan struct{}, expire func()) {
	t := time.NewTimer(b.timeout)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
		}
		left := time.Until(time.Unix(0, b.moved.Load()).Add(b.timeout))
		if left <= 0 {
			expire()
			return
		}
		t.Reset(left)
	}
}

func (b bounded) Hash(ctx context.Context, path, algo string, off, n int64) (string, error) {
	return call(ctx, b, func(ctx context.Context) (string, error) { return b.remote.Hash(ctx, path, algo, off, n) })
}

func (b bounded) Create(ctx context.Context, path string) (uftp.Info, error) {
	return call(ctx, b, func(ctx context.Context) (uftp.Info, error) { return b.remote.Create(ctx, path) })
}

func (b bounded) Truncate(ctx context.Context, path string, size int64) error {
	return b.remote.Truncate(ctx, path, size)
}

func (b bounded) NewDir(ctx context.Context, path string) (uftp.Info, error) {
	return call(ctx, b, func(ctx context.Context) (uftp.Info, error) { return b.remote.NewDir(ctx, path) })
}

func (b bounded) Rmdir(ctx context.Context, path string) error {
	return b.do(ctx, func(ctx context.Context) error { return b.remote.Rmdir(ctx, path) })
}

func (b bounded) Remove(ctx context.Context, path string) error {
	return b.do(ctx, func(ctx context.Context) error { return b.remote.Remove(ctx, path) })
}

func (b bounded) Rename(ctx context.Context, from, to string) error {
	return b.do(ctx, func(ctx context.Context) error { return b.remote.Rename(ctx, from, to) })
}

func (b bounded) SetAttr(ctx context.Context, path string, a uftp.Attr) (uftp.Info, error) {
	return call(ctx, b, func(ctx context.Context) (uftp.Info, error) { return b.remote.SetAttr(ctx, path, a) })
}
