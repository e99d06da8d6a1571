package fusefs

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

var (
	errNotDir   = syscall.ENOTDIR
	errIsDir    = syscall.EISDIR
	errReadOnly = syscall.EROFS
	errStale    = syscall.ESTALE
)

// request returns the context of a request of the kernel: it ends some time
// after the caller was interrupted. done must be called when the request is
// answered.
func (fs *FS) request(interrupt <-chan struct{}) (ctx context.Context, done context.CancelFunc) {
	r := &requestContext{parent: fs.ctx, interrupt: interrupt, grace: fs.cfg.InterruptGrace}
	return r, r.done
}

// requestContext is a context that begins to watch for an interrupt when
// somebody waits for it: most requests are answered before anybody does.
type requestContext struct {
	parent    context.Context // of which a request is a part
	interrupt <-chan struct{}
	grace     time.Duration

	mu     sync.Mutex // guards what follows
	ended  bool
	ctx    context.Context // the parent's child, once somebody waits
	cancel context.CancelFunc
}

// watched returns the context that others can wait for.
func (r *requestContext) watched() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		r.ctx, r.cancel = context.WithCancel(r.parent)
		switch {
		case r.ended:
			r.cancel()
		case r.interrupt != nil:
			go r.watch(r.ctx, r.cancel) // ends with done
		}
	}
	return r.ctx
}

func (r *requestContext) watch(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-ctx.Done():
		return
	case <-r.interrupt:
	}
	grace := time.NewTimer(r.grace)
	defer grace.Stop()
	select {
	case <-ctx.Done():
	case <-grace.C:
		cancel()
	}
}

func (r *requestContext) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.cancel != nil {
		r.cancel()
	}
}

// Done implements [context.Context].
func (r *requestContext) Done() <-chan struct{} { return r.watched().Done() }

// Err implements [context.Context].
func (r *requestContext) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ctx != nil:
		return r.ctx.Err()
	case r.ended:
		return context.Canceled
	}
	return r.parent.Err()
}

// Deadline implements [context.Context].
func (r *requestContext) Deadline() (time.Time, bool) { return r.parent.Deadline() }

// Value implements [context.Context]. It is the watched one's, so that contexts
// derived from this one are told of its end without a goroutine for each.
func (r *requestContext) Value(key any) any { return r.watched().Value(key) }

// node returns the node that the kernel means by id. An id that we do not know
// is one that we lost: the kernel does not make them up.
func (fs *FS) node(id uint64) (*node, error) {
	if n := fs.tree.get(id); n != nil {
		return n, nil
	}
	return nil, errStale
}

// directory is node for something that has to be a directory.
func (fs *FS) directory(id uint64) (*node, error) {
	n, err := fs.node(id)
	if err == nil && !n.dir {
		return nil, errNotDir
	}
	return n, err
}

// status turns the outcome of a request into what the kernel is told, and logs
// what a program cannot have brought about itself. This is the one place where
// errors of requests are logged.
func (fs *FS) status(op string, id uint64, name string, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	errno := Errno(err)
	if errno == syscall.EINTR && fs.ctx.Err() != nil {
		errno = syscall.EIO // nobody interrupted the caller: we end
	}
	level := slog.LevelDebug
	switch errno {
	case syscall.EIO, syscall.ETIMEDOUT, syscall.EBUSY, syscall.ENOSPC, syscall.EDQUOT:
		level = slog.LevelWarn
	}
	if fs.log.Enabled(fs.ctx, level) {
		fs.log.Log(fs.ctx, level, "request failed", "op", op, "path", fs.describe(id, name), "errno", int(errno), "err", err)
	}
	return fuse.Status(errno)
}

// describe returns a path for people.
func (fs *FS) describe(id uint64, name string) string {
	n := fs.tree.get(id)
	if n == nil {
		return name
	}
	path, ok := fs.tree.path(n)
	switch {
	case !ok:
		return "(removed)/" + name
	case name == "":
		return path
	}
	return join(path, name)
}

// signed returns a size or offset of the kernel's as we count. It never sends
// one that is too large, but files end there.
func signed(n uint64) (int64, error) {
	if n > math.MaxInt64 {
		return 0, syscall.EFBIG
	}
	return int64(n), nil
}

// unsigned is the reverse, for sizes of the server's.
func unsigned(n int64) uint64 { return uint64(max(n, 0)) }
