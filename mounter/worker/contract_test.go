package worker

import (
	"bytes"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// TestProtocolServerContract is what we need of go-fuse's ProtocolServer, which
// is marked experimental: raw bytes in, raw bytes out. If it fails after an
// update of go-fuse, the update changed what workers say to the kernel.
func TestProtocolServerContract(t *testing.T) {
	files := newFakeFS()
	l := newLoop(files, testLog(t), false)
	call := func(t *testing.T, in []byte) []byte {
		t.Helper()
		r := &request{in: in}
		out := make([]byte, r.replySize())
		n, status := l.ps.HandleRequest([][]byte{in}, [][]byte{out})
		if !status.Ok() {
			t.Fatalf("HandleRequest: %v", status)
		}
		if n > 0 && u32(out, 0) != n {
			t.Fatalf("the reply says %d bytes and has %d", u32(out, 0), n)
		}
		if n > 0 && replyUnique(out) != r.unique() {
			t.Fatalf("reply to %d, want %d", replyUnique(out), r.unique())
		}
		return out[:n]
	}

	t.Run("INIT", func(t *testing.T) {
		reply, err := l.negotiate(rawInit())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := l.negotiate(rawInit()); err != nil || !bytes.Equal(reply, again) {
			t.Errorf("INIT replayed: %v, %x, want %x", err, again, reply)
		}
		body := reply[outHeaderSize:]
		if u32(body, 0) != 7 {
			t.Errorf("major %d, want 7", u32(body, 0))
		}
		flags := uint64(u32(body, 12)) | uint64(u32(body, 32))<<32
		const initExt = 1 << 30 // says that flags2 counts
		if flags&^initExt != wanted {
			t.Errorf("flags %#x, want %#x: too many %#x, missing %#x", flags, uint64(wanted), flags&^(wanted|initExt), wanted&^flags)
		}
		for _, f := range []struct {
			name      string
			got, want int
		}{
			{"max_background", u16(body, 16), maxBackground},
			{"congestion_threshold", u16(body, 18), maxBackground * 3 / 4},
			{"max_write", u32(body, 20), maxIO},
			{"max_pages", u16(body, 28), maxIO / 4096},
			{"max_readahead", u32(body, 8), 128 << 10},
		} {
			if f.got != f.want {
				t.Errorf("%s is %d, want %d", f.name, f.got, f.want)
			}
		}
	})
	t.Run("INIT with passthrough", func(t *testing.T) {
		if l.passes {
			t.Error("passthrough was not wanted")
		}
		l := newLoop(files, testLog(t), true)
		reply, err := l.negotiate(rawInit())
		if err != nil {
			t.Fatal(err)
		}
		const initExt = 1 << 30
		body := reply[outHeaderSize:]
		if flags := initFlags(reply) &^ initExt; flags != wanted|fuse.CAP_PASSTHROUGH || u32(body, 36) != 1 || !l.passes {
			t.Errorf("flags %#x, max_stack_depth %d", flags, u32(body, 36))
		}
		// A kernel that does not know it.
		old := rawRequest(opInit, 2, 0, [4]uint32{7, 38, 128 << 10, 0xffffffff &^ initExt}, [12]uint32{})
		if _, err := l.negotiate(old); err != nil || l.passes {
			t.Errorf("an old kernel passes files through: %t, %v", l.passes, err)
		}
	})
	t.Run("LOOKUP", func(t *testing.T) {
		out := call(t, rawLookup(4, 1, "f"))
		if replyErrno(out) != 0 || len(out) != outHeaderSize+128 {
			t.Fatalf("errno %d, %d bytes", replyErrno(out), len(out))
		}
		body := out[outHeaderSize:]
		if u64(body, 0) != 2 || u64(body, 8) != 7 || u64(body, 48) != 42 {
			t.Errorf("node %d generation %d size %d", u64(body, 0), u64(body, 8), u64(body, 48))
		}
		if out := call(t, rawLookup(6, 1, "none")); replyErrno(out) != int32(fuse.ENOENT) || len(out) != outHeaderSize {
			t.Errorf("missing name: errno %d, %d bytes", replyErrno(out), len(out))
		}
	})
	data := make([]byte, maxIO)
	for i := range data {
		data[i] = byte(i * 7)
	}
	t.Run("WRITE", func(t *testing.T) {
		out := call(t, rawWrite(8, 2, 3, data))
		if replyErrno(out) != 0 || len(out) != outHeaderSize+8 || u32(out, outHeaderSize) != len(data) {
			t.Errorf("errno %d, %d bytes, written %d", replyErrno(out), len(out), u32(out, outHeaderSize))
		}
		if !bytes.Equal(files.data[3:], data) {
			t.Error("other bytes arrived")
		}
	})
	t.Run("READ", func(t *testing.T) {
		out := call(t, rawRead(opRead, 10, 2, 3, maxIO))
		if replyErrno(out) != 0 || !bytes.Equal(out[outHeaderSize:], data) {
			t.Errorf("errno %d, %d bytes", replyErrno(out), len(out))
		}
		if out := call(t, rawRead(opRead, 12, 2, maxIO, 4096)); len(out) != outHeaderSize+3 {
			t.Errorf("short read has %d bytes, want 3", len(out)-outHeaderSize)
		}
	})
	t.Run("READDIRPLUS", func(t *testing.T) {
		out := call(t, rawRead(opReadDirPlus, 14, 1, 0, 4096))
		const entry = 128 + 24 + 8 // fuse_entry_out, fuse_dirent, the name padded
		if replyErrno(out) != 0 || len(out) != outHeaderSize+entry {
			t.Fatalf("errno %d, %d bytes", replyErrno(out), len(out))
		}
		body := out[outHeaderSize:]
		if u64(body, 0) != 2 || u64(body, 128) != 2 || u64(body, 136) != 1 || u32(body, 144) != 1 || body[152] != 'f' {
			t.Errorf("entry %x", body)
		}
	})
	t.Run("FORGET", func(t *testing.T) {
		if out := call(t, rawRequest(opForget, 16, 2, uint64(3))); len(out) != 0 {
			t.Errorf("FORGET was answered: %x", out)
		}
		if out := call(t, rawRequest(opBatchForget, 18, 0, [2]uint32{2, 0}, [4]uint64{2, 4, 3, 5})); len(out) != 0 {
			t.Errorf("BATCH_FORGET was answered: %x", out)
		}
		if files.forgot(2) != 7 || files.forgot(3) != 5 {
			t.Errorf("forgotten %v", files.forgotten)
		}
	})
	t.Run("INTERRUPT", func(t *testing.T) {
		// Of nothing: try again, says the protocol.
		if out := call(t, rawInterrupt(1000)); replyErrno(out) != int32(fuse.EAGAIN) || replyUnique(out) != 1001 {
			t.Errorf("INTERRUPT of nothing: %x", out)
		}
		files.block = make(chan struct{})
		done := make(chan []byte)
		go func() { done <- call(t, rawLookup(20, blocking, "x")) }()
		eventually(t, "LOOKUP waits", func() bool { return files.waiting() == 1 })
		if out := call(t, rawInterrupt(20)); len(out) != 0 {
			t.Errorf("INTERRUPT was answered: %x", out)
		}
		if out := <-done; replyErrno(out) != int32(fuse.EINTR) {
			t.Errorf("the interrupted LOOKUP: errno %d", replyErrno(out))
		}
	})
	t.Run("panic", func(t *testing.T) {
		if out := call(t, rawLookup(22, 1, "panic")); replyErrno(out) != int32(fuse.EIO) {
			t.Errorf("panic: errno %d, want EIO", replyErrno(out))
		}
	})
	t.Run("unknown opcode", func(t *testing.T) {
		if out := call(t, rawRequest(4000, 24, 1)); replyErrno(out) != int32(fuse.ENOSYS) {
			t.Errorf("errno %d, want ENOSYS", replyErrno(out))
		}
	})
}
