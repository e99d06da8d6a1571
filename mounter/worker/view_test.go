package worker

import (
	"bytes"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// viewFS shows data from memory, but for some nodes.
type viewFS struct {
	*fakeFS
}

const (
	viewed    = 3 // a node of which there is memory to show
	refused   = 4 // one that cannot be read
	panicking = 5
)

func (f *viewFS) ReadView(interrupt <-chan struct{}, in *fuse.ReadIn, v *blockcache.View) (fuse.Status, bool) {
	switch in.NodeId {
	case viewed:
		v.Pieces = append(v.Pieces, []byte("two "), []byte("pieces"))
		return fuse.OK, true
	case refused:
		return fuse.EACCES, true
	case panicking:
		panic("asked for it")
	case blocking:
		return f.wait(interrupt), true
	}
	return fuse.OK, false
}

// TestViewIsTheAnswer: what the file system shows is written as one reply, and
// what it does not show is read.
func TestViewIsTheAnswer(t *testing.T) {
	k := startLoopOn(t, func(f *fakeFS) fuse.RawFileSystem { return &viewFS{f} })
	k.send(rawWrite(4, 2, 0, []byte("copied")))
	k.receive()
	for _, tc := range []struct {
		node  uint64
		errno int32
		want  string
	}{
		{viewed, 0, "two pieces"},
		{2, 0, "copied"},
		{refused, int32(fuse.EACCES), ""},
		{panicking, int32(fuse.EIO), ""},
	} {
		k.send(rawRead(opRead, 10+tc.node, tc.node, 0, 4096))
		out := k.receive()
		if out == nil || replyUnique(out) != 10+tc.node || u32(out, 0) != len(out) || replyErrno(out) != tc.errno ||
			!bytes.Equal(out[outHeaderSize:], []byte(tc.want)) {
			t.Errorf("node %d: %q, want errno %d and %q", tc.node, out, tc.errno, tc.want)
		}
	}
}

// TestViewIsInterrupted: the loop itself tells a READ that nobody waits for it.
func TestViewIsInterrupted(t *testing.T) {
	k := startLoopOn(t, func(f *fakeFS) fuse.RawFileSystem { return &viewFS{f} })
	k.send(rawRead(opRead, 10, blocking, 0, 4096))
	eventually(t, "the READ waits", func() bool { return k.fs.waiting() == 1 })
	k.send(rawInterrupt(10))
	k.send(rawInterrupt(10)) // the kernel asks again when nothing happens
	if out := k.receive(); out == nil || replyUnique(out) != 10 || replyErrno(out) != int32(fuse.EINTR) {
		t.Errorf("reply %x, want EINTR", out)
	}
}
