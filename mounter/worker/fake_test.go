package worker

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeFS has one file, number 2, called "f".
type fakeFS struct {
	fuse.RawFileSystem

	block chan struct{} // if not nil, LOOKUP and READ of node blocking wait for it

	mu        sync.Mutex
	data      []byte
	forgotten map[uint64]uint64
	reading   int // READs that wait now
	most      int // the most there ever were
	cancelled int
}

// blocking is the node whose requests wait.
const blocking = 99

func newFakeFS() *fakeFS {
	return &fakeFS{RawFileSystem: fuse.NewDefaultRawFileSystem(), forgotten: make(map[uint64]uint64)}
}

func (f *fakeFS) wait(cancel <-chan struct{}) fuse.Status {
	f.mu.Lock()
	f.reading++
	f.most = max(f.most, f.reading)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.reading--
		f.mu.Unlock()
	}()
	select {
	case <-f.block:
		return fuse.OK
	case <-cancel:
		f.mu.Lock()
		f.cancelled++
		f.mu.Unlock()
		return fuse.EINTR
	}
}

func (f *fakeFS) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reading
}

func (f *fakeFS) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if h.NodeId == blocking {
		return f.wait(cancel)
	}
	switch name {
	case "f":
		out.NodeId, out.Generation, out.Mode, out.Size = 2, 7, fuse.S_IFREG|0o644, 42
		return fuse.OK
	case "panic":
		panic("asked for it")
	}
	return fuse.ENOENT
}

func (f *fakeFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.NodeId == blocking {
		return fuse.ReadResultData(nil), f.wait(cancel)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.Offset >= uint64(len(f.data)) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	return fuse.ReadResultData(buf[:copy(buf, f.data[in.Offset:])]), fuse.OK
}

func (f *fakeFS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := int(in.Offset) + len(data)
	if len(f.data) < end {
		f.data = append(f.data, make([]byte, end-len(f.data))...)
	}
	return uint32(copy(f.data[in.Offset:], data)), fuse.OK
}

func (f *fakeFS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if in.Offset > 0 {
		return fuse.OK
	}
	e := out.AddDirLookupEntry(fuse.DirEntry{Name: "f", Ino: 2, Mode: fuse.S_IFREG, Off: 1})
	e.NodeId, e.Size = 2, 42
	return fuse.OK
}

func (f *fakeFS) Forget(node, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten[node] += n
}

func (f *fakeFS) forgot(node uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forgotten[node]
}

// The requests and replies below are written down byte by byte, after
// include/uapi/linux/fuse.h, and not with go-fuse's types: they test those.

func rawRequest(opcode uint32, unique, node uint64, body ...any) []byte {
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.NativeEndian, v) }
	put(uint32(0)) // the length, below
	put(opcode)
	put(unique)
	put(node)
	put([4]uint32{1000, 1000, 4711, 0}) // uid, gid, pid, extensions
	for _, v := range body {
		if s, ok := v.(string); ok {
			v = append([]byte(s), 0)
		}
		put(v)
	}
	raw := b.Bytes()
	binary.NativeEndian.PutUint32(raw, uint32(len(raw)))
	return raw
}

func rawInit() []byte {
	return rawRequest(opInit, 2, 0, [4]uint32{7, 45, 128 << 10, 0xffffffff}, [12]uint32{0xffffffff})
}

func rawLookup(unique, parent uint64, name string) []byte {
	return rawRequest(1, unique, parent, name)
}

func rawRead(opcode uint32, unique, node, off uint64, size uint32) []byte {
	return rawRequest(opcode, unique, node, uint64(5), off, size, uint32(0), uint64(0), [2]uint32{})
}

func rawWrite(unique, node, off uint64, data []byte) []byte {
	return rawRequest(16, unique, node, uint64(5), off, uint32(len(data)), uint32(0), uint64(0), [2]uint32{}, data)
}

func rawInterrupt(unique uint64) []byte {
	return rawRequest(opInterrupt, unique|1, 0, unique)
}

func replyUnique(b []byte) uint64 { return binary.NativeEndian.Uint64(b[8:]) }

func replyErrno(b []byte) int32 { return -int32(binary.NativeEndian.Uint32(b[4:])) }

func u16(b []byte, at int) int { return int(binary.NativeEndian.Uint16(b[at:])) }
func u32(b []byte, at int) int { return int(binary.NativeEndian.Uint32(b[at:])) }
func u64(b []byte, at int) int { return int(binary.NativeEndian.Uint64(b[at:])) }

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}
