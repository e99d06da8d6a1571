package worker

import (
	"runtime/debug"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// viewer is a file system that can answer a READ with memory it has. go-fuse
// copies every answer: for sequential reading a third of what the worker does.
type viewer interface {
	ReadView(interrupt <-chan struct{}, in *fuse.ReadIn, v *blockcache.View) (fuse.Status, bool)
}

// views are used again, for the slices they keep.
type views struct{ pool sync.Pool }

func (p *views) get() *blockcache.View {
	if v, ok := p.pool.Get().(*blockcache.View); ok {
		return v
	}
	return new(blockcache.View)
}

// readView answers a READ from the file system's memory, and reports whether it
// did.
func (l *loop) readView(r *request) (answered bool) {
	in, ok := r.readIn()
	if !ok || l.view == nil {
		return false
	}
	v := l.views.get()
	defer func() {
		v.Release()
		l.views.pool.Put(v)
	}()
	status, ok := l.askView(r, &in, v)
	switch {
	case !ok:
		return l.giveUp(r)
	case !status.Ok():
		l.reply(errorReply(in.Unique, status))
	default:
		n := 0
		for _, p := range v.Pieces {
			n += len(p)
		}
		l.written(l.dev.writev(append([][]byte{replyHeader(in.Unique, n)}, v.Pieces...)), n)
	}
	return true
}

// giveUp leaves a READ to go-fuse, which hears of interrupts from now on. One
// that was interrupted before is answered.
func (l *loop) giveUp(r *request) (answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.interrupt = nil
	if r.interrupted {
		l.reply(errorReply(r.unique(), fuse.EINTR))
	}
	return r.interrupted
}

// askView is ReadView for a file system that may panic.
func (l *loop) askView(r *request, in *fuse.ReadIn, v *blockcache.View) (status fuse.Status, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("file system panicked", "panic", p, "stack", string(debug.Stack()))
			status, ok = fuse.EIO, true
		}
	}()
	return l.view.ReadView(r.interrupt, in, v)
}
