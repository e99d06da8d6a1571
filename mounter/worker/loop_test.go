package worker

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// kernel is the other end of a device: a socket that keeps datagrams apart, as
// /dev/fuse does.
type kernel struct {
	t    *testing.T
	fd   *wire.FD
	copy *wire.FD // of the loop's end, as node and keeper have one
	loop *loop
	fs   *fakeFS
	gone chan bool // gets what run returned
}

func startLoop(t *testing.T) *kernel {
	t.Helper()
	return startLoopOn(t, func(f *fakeFS) fuse.RawFileSystem { return f })
}

// startLoopOn starts a loop on what wrap makes of a fakeFS.
func startLoopOn(t *testing.T, wrap func(*fakeFS) fuse.RawFileSystem) *kernel {
	t.Helper()
	ours, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{t: t, fd: ours, fs: newFakeFS(), gone: make(chan bool, 1)}
	if k.copy, err = theirs.Dup(); err != nil {
		t.Fatal(err)
	}
	k.fs.block = make(chan struct{})
	k.loop = newLoop(wrap(k.fs), testLog(t), false)
	if _, err := k.loop.negotiate(rawInit()); err != nil {
		t.Fatal(err)
	}
	if err := k.loop.attach(theirs); err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	run.Go(func() { k.gone <- k.loop.run() })
	t.Cleanup(func() {
		k.loop.stop()
		run.Wait()
		_ = ours.Close()
		_ = k.copy.Close()
	})
	return k
}

func (k *kernel) send(b []byte) {
	k.t.Helper()
	if _, err := unix.Write(k.fd.Int(), b); err != nil {
		k.t.Fatal(err)
	}
}

// receive returns the next reply, or nil if there is none in time.
func (k *kernel) receive() []byte {
	k.t.Helper()
	buf := make([]byte, requestBuffer)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(k.fd.Int()), Events: unix.POLLIN}}, 5000); n != 1 {
		k.t.Errorf("no reply: %v", err)
		return nil
	}
	n, err := unix.Read(k.fd.Int(), buf)
	if err != nil || n < outHeaderSize {
		k.t.Errorf("reply of %d bytes, %v", n, err)
		return nil
	}
	return buf[:n]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second) // what should take no time, on a busy machine
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestLoopServes(t *testing.T) {
	k := startLoop(t)
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	k.send(rawWrite(4, 2, 0, data))
	if out := k.receive(); replyUnique(out) != 4 || u32(out, outHeaderSize) != len(data) {
		t.Errorf("WRITE: %x", out)
	}
	k.send(rawRead(opRead, 6, 2, 0, 128<<10))
	if out := k.receive(); replyUnique(out) != 6 || !bytes.Equal(out[outHeaderSize:], data) {
		t.Errorf("READ: %d bytes", len(out))
	}
}

// What the kernel is told unasked has no request's number, and names no pages:
// invalidating those would wait for reads that wait for us.
func TestLoopForgets(t *testing.T) {
	k := startLoop(t)
	k.loop.forget(7)
	out := k.receive()
	if len(out) != outHeaderSize+24 || u32(out, 0) != len(out) || u32(out, 4) != notifyInvalInode || replyUnique(out) != 0 {
		t.Fatalf("notification: %x", out)
	}
	if node, off := u32(out, outHeaderSize), int64(binary.NativeEndian.Uint64(out[outHeaderSize+8:])); node != 7 || off != -1 {
		t.Errorf("notification of node %d from %d", node, off)
	}
}

// Requests that wait for the server do not keep others waiting.
func TestLoopHandlesConcurrently(t *testing.T) {
	k := startLoop(t)
	for i := range maxActive / 2 {
		k.send(rawLookup(uint64(100+2*i), blocking, "x"))
	}
	k.send(rawLookup(10, 1, "f"))
	if out := k.receive(); replyUnique(out) != 10 {
		t.Errorf("reply to %d, want 10", replyUnique(out))
	}
	close(k.fs.block)
	for range maxActive / 2 {
		k.receive()
	}
}

// With every handler busy and more requests waiting, FORGET and INTERRUPT get
// through, and an interrupted request is answered whether or not it had begun.
func TestLoopUrgentWhenBusy(t *testing.T) {
	k := startLoop(t)
	const extra = 50
	unique := func(i int) uint64 { return uint64(100 + 2*i) }
	for i := range maxActive + extra {
		k.send(rawLookup(unique(i), blocking, "x"))
	}
	eventually(t, "all handlers busy", func() bool { return k.fs.waiting() == maxActive })

	k.send(rawRequest(opForget, 16, 2, uint64(3)))
	eventually(t, "FORGET", func() bool { return k.fs.forgot(2) == 3 })

	k.send(rawInterrupt(unique(maxActive + extra - 1)))
	if out := k.receive(); replyUnique(out) != unique(maxActive+extra-1) || replyErrno(out) != int32(fuse.EINTR) {
		t.Errorf("interrupted while it waited: reply to %d, errno %d", replyUnique(out), replyErrno(out))
	}
	k.send(rawInterrupt(unique(0)))
	if out := k.receive(); replyUnique(out) != unique(0) || replyErrno(out) != int32(fuse.EINTR) {
		t.Errorf("interrupted while it was handled: reply to %d, errno %d", replyUnique(out), replyErrno(out))
	}
	// Its place was taken by one that waited.
	eventually(t, "all handlers busy again", func() bool { return k.fs.waiting() == maxActive })
	close(k.fs.block)
	seen := make(map[uint64]bool)
	for range maxActive + extra - 2 {
		seen[replyUnique(k.receive())] = true
	}
	if len(seen) != maxActive+extra-2 {
		t.Errorf("%d requests answered, want %d", len(seen), maxActive+extra-2)
	}
}

// Buffers are bounded, whatever the kernel asks for at once.
func TestLoopBoundsMemory(t *testing.T) {
	k := startLoop(t)
	const n = 60
	for i := range n {
		k.send(rawRead(opRead, uint64(100+2*i), blocking, 0, maxIO))
	}
	k.send(rawLookup(10, 1, "f")) // small ones overtake
	if out := k.receive(); replyUnique(out) != 10 {
		t.Errorf("reply to %d, want 10", replyUnique(out))
	}
	close(k.fs.block)
	for range n {
		k.receive()
	}
	k.fs.mu.Lock()
	defer k.fs.mu.Unlock()
	if limit := maxActiveBytes / maxIO; k.fs.most > limit || k.fs.most < limit/2 {
		t.Errorf("%d READs of 1 MiB at once, want at most %d", k.fs.most, limit)
	}
}

func TestLoopStop(t *testing.T) {
	k := startLoop(t)
	k.send(rawLookup(100, blocking, "x"))
	eventually(t, "LOOKUP waits", func() bool { return k.fs.waiting() == 1 })
	k.loop.stop()
	eventually(t, "readers gone", func() bool {
		k.loop.mu.Lock()
		defer k.loop.mu.Unlock()
		return k.loop.readers == 0
	})
	k.send(rawLookup(102, 1, "f"))
	select {
	case <-k.gone:
		t.Error("stopped with a request under way")
	default:
	}
	close(k.fs.block)
	if out := k.receive(); replyUnique(out) != 100 || replyErrno(out) != 0 {
		t.Errorf("the request under way: reply to %d, errno %d", replyUnique(out), replyErrno(out))
	}
	if gone := <-k.gone; gone {
		t.Error("stop was taken for an unmount")
	}
	buf := make([]byte, requestBuffer)
	n, err := unix.Read(k.copy.Int(), buf)
	if r := (&request{in: buf[:max(n, 0)]}); err != nil || n < inHeaderSize || r.unique() != 102 {
		t.Errorf("the request after stop did not stay: %d bytes, %v", n, err)
	}
}

// When the kernel ends the connection, what is under way is cancelled, what
// waits is dropped.
func TestLoopEnds(t *testing.T) {
	k := startLoop(t)
	for i := range maxActive + 10 {
		k.send(rawLookup(uint64(100+2*i), blocking, "x"))
	}
	eventually(t, "all handlers busy", func() bool { return k.fs.waiting() == maxActive })
	_ = k.fd.Close()
	if gone := <-k.gone; !gone {
		t.Error("the end of the connection was taken for a stop")
	}
	k.fs.mu.Lock()
	defer k.fs.mu.Unlock()
	if k.fs.cancelled != maxActive {
		t.Errorf("%d requests cancelled, want %d", k.fs.cancelled, maxActive)
	}
}

func TestNegotiateRefusesOthers(t *testing.T) {
	l := newLoop(newFakeFS(), testLog(t), false)
	for _, b := range [][]byte{nil, rawLookup(4, 1, "f"), rawInit()[:39]} {
		if reply, err := l.negotiate(b); err == nil {
			t.Errorf("negotiated %x from %x", reply, b)
		}
	}
}

// A notification after the end must not reach whatever has the number of the
// closed descriptor by then.
func TestNothingIsToldAfterTheEnd(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fds[1]) }()
	d, err := newDevice(wire.NewFD(fds[0]), 1)
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	if err := d.notify([]byte("x")); err != nil {
		t.Errorf("notify after close: %v", err)
	}
}
