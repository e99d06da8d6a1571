package worker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// errStopping ends the readers of a device that is not at its end.
var errStopping = errors.New("stopping")

// device is /dev/fuse with readers that can be told to go. Each waits in an
// epoll instance of its own, exclusively: a request wakes one of them, on the
// thread that then handles it. Go's poller, which hands events from thread to
// thread, nearly doubles the time of a small request.
type device struct {
	fd   *wire.FD
	wake *wire.FD      // eventfd: readable for ever once somebody wakes the readers
	idle chan *wire.FD // epoll instances that nobody waits in

	mu     sync.Mutex // guards closed, and wake and notify against the end
	closed bool
}

// newDevice takes over fd, for so many readers at a time.
func newDevice(fd *wire.FD, readers int) (_ *device, err error) {
	d := &device{fd: wire.NewFD(fd.Release()), idle: make(chan *wire.FD, readers)}
	defer func() {
		if err != nil {
			d.close()
			err = fmt.Errorf("device: %w", err)
		}
	}()
	if err := unix.SetNonblock(d.fd.Int(), true); err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	d.wake = wire.NewFD(wake)
	for range readers {
		n, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, err
		}
		ep := wire.NewFD(n)
		d.idle <- ep
		for fd, events := range map[int]uint32{d.fd.Int(): unix.EPOLLIN | unix.EPOLLEXCLUSIVE, wake: unix.EPOLLIN} {
			event := unix.EpollEvent{Events: events, Fd: int32(fd)} //nolint:gosec // descriptors are small
			if err := unix.EpollCtl(n, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// read calls try, which reads the descriptor once, until it has read something.
// The error is errStopping after wakeReaders, or what the device said.
func (d *device) read(try func(fd int) error) error {
	ep := <-d.idle
	defer func() { d.idle <- ep }()
	var events [2]unix.EpollEvent
	for {
		err := try(d.fd.Int())
		switch {
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ENOENT):
			continue // ENOENT: the request was interrupted before we had it
		case !errors.Is(err, syscall.EAGAIN):
			return err
		}
		n, err := unix.EpollWait(ep.Int(), events[:], -1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for the device: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == d.wake.Int() {
				return errStopping
			}
		}
	}
}

func (d *device) write(b []byte) error {
	for {
		if _, err := syscall.Write(d.fd.Int(), b); err != syscall.EINTR {
			return err
		}
	}
}

// writev writes pieces as one reply.
func (d *device) writev(pieces [][]byte) error {
	for {
		if _, err := unix.Writev(d.fd.Int(), pieces); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// notify writes what is no reply, which may also come after the end: then
// nobody is there to be told. It must be nothing that waits.
func (d *device) notify(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	return d.write(b)
}

// wakeReaders ends every read, now and later.
func (d *device) wakeReaders() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		_, _ = unix.Write(d.wake.Int(), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// close is called when nobody reads or replies any more.
func (d *device) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	close(d.idle)
	for ep := range d.idle {
		_ = ep.Close()
	}
	_ = d.wake.Close()
	_ = d.fd.Close()
}

// ended reports whether err says that the mount is gone.
func ended(err error) bool {
	return errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPERM)
}
