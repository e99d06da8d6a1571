package mounter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// A worker that has all of a file on its disk lets the kernel read it there
// (FUSE passthrough). The kernel has to be told of the file by somebody with
// CAP_SYS_ADMIN, and that is we. The file comes over a socket of the worker's own:
// see [wire.NodeBack].

const (
	// passTimeout bounds the wait for a worker, and that for one of its files,
	// which may be on a file system that he serves himself.
	passTimeout = 5 * time.Second
	// passTurns bounds the files of a mount that we look at at a time.
	passTurns = 4
	// mostPassed bounds the files of a mount that the kernel knows of.
	mostPassed = 1024
)

// passer tells the kernel of a worker's files.
type passer struct {
	m     *Manager
	mt    *mount
	owner uint32        // the worker's user
	turns chan struct{} // holds a token for each file that is looked at

	mu  sync.Mutex // guards ids
	ids map[int32]struct{}
}

// passFiles gives the worker of a mount with a disk cache a socket to us. Without
// it everything works, but slower.
func (m *Manager) passFiles(ctx context.Context, client *keeper.Client, mt *mount) {
	if mt.spec.CacheDir == "" || os.Geteuid() != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	peer, err := m.connectWorker(ctx, client, mt)
	if err != nil {
		m.log.Debug("files are not passed through", "mount", mt.name, "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mt.passing = peer
}

func (m *Manager) connectWorker(ctx context.Context, client *keeper.Client, mt *mount) (*wire.Peer, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	conn, err := wire.FromFD(ours)
	if err != nil {
		return nil, err
	}
	if err := client.Pass(ctx, mt.name, theirs); err != nil {
		_ = conn.Close()
		return nil, err
	}
	p := &passer{
		m: m, mt: mt, owner: client.WorkerUID(),
		turns: make(chan struct{}, passTurns), ids: make(map[int32]struct{}),
	}
	// It ends with the worker, or with us. Nobody waits for that: what it does
	// may take as long as the worker likes.
	//nolint:contextcheck // a connection outlives the call that makes it
	return wire.NewPeer(m.ctx, conn, wire.PeerConfig{Handle: p.handle, Event: p.event, Files: 1}), nil
}

// passFilesAgain does passFiles for mounts that an earlier process has made.
// Nobody waits for that: a worker may be busy.
func (m *Manager) passFilesAgain(client *keeper.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mt := range m.mounts {
		if mt.passing == nil && !mt.closing && mt.ended == "" && m.ctx.Err() == nil {
			m.group.Go(func() { m.passFiles(m.ctx, client, mt) })
		}
	}
}

// handle answers a worker. Whatever file comes with a request is closed where
// nobody waits for it.
func (p *passer) handle(ctx context.Context, r *wire.Request) (any, []*wire.FD, error) {
	file, err := r.Take(0)
	if err != nil {
		return nil, nil, err
	}
	select {
	case p.turns <- struct{}{}:
	default:
		go func() { _ = file.Close() }()
		return nil, nil, fmt.Errorf("already %d files at a time", passTurns)
	}
	type answer struct {
		id  int32
		err error
	}
	answers, late := make(chan answer), make(chan struct{})
	go func() {
		var a answer
		if a.err = fmt.Errorf("%s: %w", r.Method, errors.ErrUnsupported); r.Method == wire.NodeBack {
			a.id, a.err = p.back(file)
		}
		_ = file.Close()
		<-p.turns
		select {
		case answers <- a:
		case <-late:
			p.unback(a.id)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	select {
	case a := <-answers:
		return wire.BackResult{ID: a.id}, nil, a.err
	case <-ctx.Done():
		close(late)
		return nil, nil, fmt.Errorf("look at the file: %w", context.Cause(ctx))
	}
}

func (p *passer) event(method string, params json.RawMessage) {
	var u wire.UnbackParams
	if method == wire.NodeUnback && json.Unmarshal(params, &u) == nil {
		go p.unback(u.ID)
	}
}

// back has the kernel know a file, if it is one that the worker might have read
// and written anyway.
func (p *passer) back(file *wire.FD) (int32, error) {
	if err := checkBacking(file, p.owner); err != nil {
		return 0, err
	}
	p.mu.Lock()
	full := len(p.ids) >= mostPassed
	p.mu.Unlock()
	if full {
		return 0, fmt.Errorf("already %d files", mostPassed)
	}
	id, err := p.ioctl(backingOpen, unsafe.Pointer(&backingMap{fd: int32(file.Int())})) //nolint:gosec // a system call; descriptors are small
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids[id] = struct{}{}
	return id, nil
}

// unback has the kernel forget a file. If the device is not ours any more that is
// for the kernel to do, when the mount ends.
func (p *passer) unback(id int32) {
	if id == 0 {
		return
	}
	p.mu.Lock()
	delete(p.ids, id)
	p.mu.Unlock()
	if _, err := p.ioctl(backingClose, unsafe.Pointer(&id)); err != nil { //nolint:gosec // a system call
		p.m.log.Debug("a file stays with the kernel", "mount", p.mt.name, "err", err)
	}
}

// Requests of /dev/fuse, and what the first is about: include/uapi/linux/fuse.h.
const (
	backingOpen  = 0x4010e501
	backingClose = 0x4004e502
)

type backingMap struct {
	fd      int32
	flags   uint32
	padding uint64
}

// ioctl makes a request of the mount's device.
func (p *passer) ioctl(request uintptr, arg unsafe.Pointer) (int32, error) {
	p.m.mu.Lock()
	device, err := p.mt.device.Dup()
	p.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	defer func() { _ = device.Close() }()
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(device.Int()), request, uintptr(arg))
		switch errno {
		case 0:
			return int32(n), nil //nolint:gosec // the kernel's own number
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("ioctl /dev/fuse", errno)
		}
	}
}

// checkBacking makes sure that a file gives nobody more than he has. The kernel
// opens it again with our rights, for reading or writing, as whoever opens it
// through the mount asks for; so it has to be the worker's own, on a disk or in
// memory, where files are no more than their bytes. That the worker could open
// it is shown by his having done so.
func checkBacking(file *wire.FD, owner uint32) error {
	flags, err := unix.FcntlInt(uintptr(file.Int()), unix.F_GETFL, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if flags&(unix.O_PATH|unix.O_ACCMODE) != unix.O_RDONLY {
		return fmt.Errorf("the file is not open for reading: %w", fs.ErrInvalid)
	}
	var system unix.Statfs_t
	if err := unix.Fstatfs(file.Int(), &system); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	switch system.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
	default:
		return fmt.Errorf("the file is on a file system of type %#x: %w", system.Type, errors.ErrUnsupported)
	}
	var st unix.Stat_t
	if err := unix.Fstat(file.Int(), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Uid != owner {
		return fmt.Errorf("the file is not the worker's own: %w", fs.ErrPermission)
	}
	return nil
}
