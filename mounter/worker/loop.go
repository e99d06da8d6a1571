package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

const (
	// maxActive bounds the requests handled at a time.
	maxActive = 128
	// maxActiveBytes bounds the buffers of those, beyond the first.
	maxActiveBytes = 32 << 20
	// maxWaiting and maxWaitingBytes bound the requests that are read and not
	// handled yet. Beyond them the loop stops reading, INTERRUPTs included.
	maxWaiting      = 4096
	maxWaitingBytes = 8 << 20
	// spareReaders is how many goroutines wait for the device at most.
	spareReaders = 2
)

// loop carries requests from the device to the file system and replies back.
//
// A goroutine that has read a request handles it itself, after it has made sure
// that another one reads: a hand-over between goroutines would cost more than
// most requests take. When as much as is allowed is being handled, requests are
// put aside in the order they came, so that the reader goes on to see the
// INTERRUPTs that may end what all wait for.
//
// The steps read → handle → reply → release of a request are one function each,
// so that requests can live in memory that outlasts the process.
type loop struct {
	ps   *fuse.ProtocolServer
	view viewer // nil if the file system has none
	log  *slog.Logger
	pool struct{ request, small, medium, large bufferPool }

	views  views
	dev    *device
	passes bool // the kernel can be told to read files itself

	group  sync.WaitGroup // readers and handlers
	served atomic.Uint64  // requests handled

	mu           sync.Mutex // guards what follows
	room         sync.Cond  // waiting got shorter, or the loop stops
	readers      int
	active       map[uint64]*request // being handled, by unique
	activeBytes  int
	waiting      []*request
	waitingBytes int
	stopping     bool
	gone         bool // the kernel ended the connection
}

// newLoop makes a loop for fs. passthrough is whether that may have the kernel
// read files itself.
func newLoop(fs fuse.RawFileSystem, log *slog.Logger, passthrough bool) *loop {
	l := &loop{
		ps:     fuse.NewProtocolServer(fs, options(log, passthrough)),
		log:    log,
		active: make(map[uint64]*request),
	}
	l.view, _ = fs.(viewer)
	l.room.L = &l.mu
	l.pool.request.size = requestBuffer
	l.pool.small.size = smallReply
	l.pool.medium.size = 128<<10 + 4096
	l.pool.large.size = maxIO + 4096
	return l
}

// negotiate answers the kernel's INIT.
func (l *loop) negotiate(init []byte) ([]byte, error) {
	r := &request{in: init}
	if len(init) < inHeaderSize || r.opcode() != opInit {
		return nil, fmt.Errorf("not an INIT request: %d bytes", len(init))
	}
	out := make([]byte, smallReply)
	n, status := l.ps.HandleRequest([][]byte{init}, [][]byte{out})
	if !status.Ok() || n < outHeaderSize {
		return nil, fmt.Errorf("negotiate with the kernel: %v", status)
	}
	l.passes = initFlags(out[:n])&fuse.CAP_PASSTHROUGH != 0
	return out[:n], nil
}

// attach gives the loop its device. Every copy of the open file becomes
// nonblocking by it.
func (l *loop) attach(fd *wire.FD) error {
	d, err := newDevice(fd, spareReaders)
	l.dev = d
	return err
}

// run serves until the kernel ends the connection (gone is true) or stop is
// called, and returns when the last request is answered. It closes the device.
func (l *loop) run() (gone bool) {
	l.mu.Lock()
	l.readers = 1
	l.mu.Unlock()
	l.group.Go(l.serve)
	l.group.Wait()
	l.dev.close()
	return l.gone
}

// stop makes run return once what has been read is answered. Requests that come
// later stay with the kernel, but for one that a reader is just about to read.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopping = true
	l.room.Broadcast()
	l.mu.Unlock()
	l.dev.wakeReaders()
}

// serve is a reader that becomes a handler when it has read something.
func (l *loop) serve() {
	for {
		r, err := l.read()
		if err != nil {
			l.leave(err)
			return
		}
		if r.urgent() {
			l.handleUrgent(r)
			continue
		}
		if !l.admit(r) {
			continue
		}
		l.handle(r)
		l.finish(r)
		if !l.readAgain() {
			return
		}
	}
}

// read returns the next request. Its error is errStopping, or what the device
// said. At most spareReaders goroutines are in it.
func (l *loop) read() (*request, error) {
	l.mu.Lock()
	for !l.stopping && (len(l.waiting) >= maxWaiting || l.waitingBytes >= maxWaitingBytes) {
		l.room.Wait()
	}
	stopping := l.stopping
	l.mu.Unlock()
	if stopping {
		return nil, errStopping
	}
	// The buffer is taken when the device has something for us, not while we
	// wait: an idle mount has none.
	var r *request
	err := l.dev.read(func(fd int) (err error) {
		r, err = l.readInto(fd)
		return err
	})
	return r, err
}

func (l *loop) readInto(fd int) (*request, error) {
	buf := l.pool.request.get()
	n, err := syscall.Read(fd, *buf)
	if err != nil {
		l.pool.request.put(buf)
		return nil, err
	}
	if n < inHeaderSize {
		l.pool.request.put(buf)
		return nil, fmt.Errorf("request of %d bytes", n)
	}
	if n > smallRequest {
		return &request{in: (*buf)[:n], buf: buf}, nil
	}
	in := make([]byte, n)
	copy(in, *buf)
	l.pool.request.put(buf)
	return &request{in: in}, nil
}

// leave ends a reader, and with the first that finds the connection gone all of
// them, and what is being handled for nobody any more.
func (l *loop) leave(err error) {
	l.mu.Lock()
	l.readers--
	first := !l.stopping && !l.gone
	var orphans []uint64
	if !errors.Is(err, errStopping) && !l.gone {
		l.gone = true
		for unique := range l.active {
			orphans = append(orphans, unique)
		}
		for len(l.waiting) > 0 {
			l.release(l.takeWaiting(0))
		}
	}
	l.mu.Unlock()
	if first && !ended(err) {
		l.log.Error("reading the device", "err", err)
	}
	if first {
		l.stop()
	}
	for _, unique := range orphans {
		l.interrupt(unique)
	}
}

// admit decides whether the caller handles r now. If so another goroutine reads
// on; if not r waits, and the caller reads on.
func (l *loop) admit(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fits(r) || len(l.waiting) > 0 && r.cost() > 0 {
		l.waiting = append(l.waiting, r)
		l.waitingBytes += r.inputCost()
		return false
	}
	l.start(r)
	if l.readers == 1 {
		l.group.Go(l.serve)
	} else {
		l.readers--
	}
	return true
}

func (l *loop) fits(r *request) bool {
	return len(l.active) < maxActive && (l.activeBytes == 0 || l.activeBytes+r.cost() <= maxActiveBytes)
}

func (l *loop) start(r *request) {
	l.active[r.unique()] = r
	if l.view != nil && r.opcode() == opRead {
		r.interrupt = make(chan struct{})
	}
	l.activeBytes += r.cost()
}

// finish accounts for r, gives its memory back and starts what waited for it.
func (l *loop) finish(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.active, r.unique())
	l.activeBytes -= r.cost()
	l.release(r)
	for len(l.waiting) > 0 && l.fits(l.waiting[0]) {
		next := l.takeWaiting(0)
		l.start(next)
		l.group.Go(func() {
			l.handle(next)
			l.finish(next)
		})
	}
}

// takeWaiting removes the i-th request that waits.
func (l *loop) takeWaiting(i int) *request {
	r := l.waiting[i]
	l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
	l.waitingBytes -= r.inputCost()
	l.room.Signal()
	return r
}

// readAgain reports whether a handler that is done becomes a reader.
func (l *loop) readAgain() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers >= spareReaders || l.stopping {
		return false
	}
	l.readers++
	return true
}

// handleUrgent deals with FORGET and INTERRUPT.
func (l *loop) handleUrgent(r *request) {
	if r.opcode() == opInterrupt && l.interruptOurs(r.target()) {
		l.release(r)
		return
	}
	l.handle(r)
	l.release(r)
}

// interruptOurs interrupts a request that go-fuse does not know: it answers one
// that nobody has begun to handle, and tells the handler of a READ.
func (l *loop) interruptOurs(unique uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.active[unique]; r != nil && r.interrupt != nil {
		if !r.interrupted {
			r.interrupted = true
			close(r.interrupt)
		}
		return true
	}
	for i, r := range l.waiting {
		if r.unique() == unique {
			l.takeWaiting(i)
			l.release(r)
			l.reply(errorReply(unique, fuse.EINTR))
			return true
		}
	}
	return false
}

// interrupt tells the handler of a request that nobody waits for it.
func (l *loop) interrupt(unique uint64) {
	l.interruptOurs(unique)
	out := make([]byte, smallReply)
	l.ps.HandleRequest([][]byte{interruptRequest(unique)}, [][]byte{out})
}

// handle runs a request and replies.
func (l *loop) handle(r *request) {
	l.served.Add(1)
	if l.readView(r) {
		return
	}
	pool := l.replyPool(r.replySize())
	out := pool.get()
	defer pool.put(out)
	n, status := l.ps.HandleRequest([][]byte{r.in}, [][]byte{*out})
	switch {
	case n > 0:
		l.reply((*out)[:n])
	case !status.Ok() && !r.urgent():
		// Not even parsed. Somebody waits for an answer all the same.
		l.reply(errorReply(r.unique(), status))
	}
}

func (l *loop) replyPool(size int) *bufferPool {
	for _, p := range []*bufferPool{&l.pool.small, &l.pool.medium} {
		if size <= p.size {
			return p
		}
	}
	return &l.pool.large
}

// reply writes b to the device. Writers do not exclude one another: the kernel
// takes each reply whole.
func (l *loop) reply(b []byte) { l.written(l.dev.write(b), len(b)) }

// written looks at how a reply of n bytes went.
func (l *loop) written(err error, n int) {
	switch {
	case err == nil, ended(err):
	case errors.Is(err, syscall.ENOENT): // interrupted or aborted meanwhile: nobody waits
	default:
		l.log.Error("writing a reply", "err", err, "bytes", n)
	}
}

// forget makes the kernel ask for a node's attributes when it needs them next.
// Nothing waits for anything here: cached pages would, and are left alone.
func (l *loop) forget(node uint64) {
	switch err := l.dev.notify(invalidation(node)); {
	case err == nil, ended(err):
	case errors.Is(err, syscall.ENOENT): // the kernel has forgotten all of it
	default:
		l.log.Error("notifying the kernel", "err", err)
	}
}

func (l *loop) release(r *request) {
	if r.buf != nil {
		l.pool.request.put(r.buf)
		r.buf = nil
	}
}
