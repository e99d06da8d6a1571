package worker

import (
	"encoding/binary"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Opcodes that the loop itself must know; go-fuse keeps its own unexported.
// include/uapi/linux/fuse.h is where they come from.
const (
	opForget      = 2
	opRead        = 15
	opGetXAttr    = 22
	opListXAttr   = 23
	opInit        = 26
	opReadDir     = 28
	opInterrupt   = 36
	opIoctl       = 39
	opBatchForget = 42
	opReadDirPlus = 44
)

const (
	inHeaderSize  = 40 // struct fuse_in_header
	outHeaderSize = 16 // struct fuse_out_header
	// smallReply holds every reply without a payload, and a link's target.
	smallReply = 8 << 10
	// smallRequest is the longest request that is copied out of the reader's
	// buffer; longer ones, which are WRITEs, keep it.
	smallRequest = 8 << 10
	// requestBuffer is what read(2) on the device needs at least: the longest
	// WRITE and its headers.
	requestBuffer = maxIO + 4096
)

// request is one request of the kernel and the memory it occupies.
type request struct {
	in  []byte
	buf *[]byte // the pooled buffer that in lies in; nil if in is its own

	// interrupt is closed, once, when the kernel interrupts a READ that is
	// handled here; go-fuse has its own for what it handles. loop.mu guards that.
	interrupt   chan struct{}
	interrupted bool
}

func (r *request) opcode() uint32 { return binary.NativeEndian.Uint32(r.in[4:]) }
func (r *request) unique() uint64 { return binary.NativeEndian.Uint64(r.in[8:]) }

// urgent requests are handled by whoever reads them: they take no time, and the
// kernel or a user waits for what they release.
func (r *request) urgent() bool {
	switch r.opcode() {
	case opForget, opBatchForget, opInterrupt:
		return true
	}
	return false
}

// target returns the request that an INTERRUPT is about.
func (r *request) target() uint64 {
	if len(r.in) < inHeaderSize+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(r.in[inHeaderSize:])
}

// readIn returns the parameters of a READ.
func (r *request) readIn() (in fuse.ReadIn, ok bool) {
	if r.opcode() != opRead || len(r.in) < inHeaderSize+24 {
		return in, false
	}
	in.Unique = r.unique()
	in.NodeId = binary.NativeEndian.Uint64(r.in[16:])
	in.Fh = binary.NativeEndian.Uint64(r.in[inHeaderSize:])
	in.Offset = binary.NativeEndian.Uint64(r.in[inHeaderSize+8:])
	in.Size = min(binary.NativeEndian.Uint32(r.in[inHeaderSize+16:]), maxIO)
	return in, true
}

// replySize bounds the reply, in bytes. What a request says of it is checked:
// the kernel never asks for more than was negotiated.
func (r *request) replySize() int {
	var at int
	switch r.opcode() {
	case opRead, opReadDir, opReadDirPlus:
		at = inHeaderSize + 16 // fuse_read_in.size
	case opGetXAttr, opListXAttr:
		at = inHeaderSize // fuse_getxattr_in.size
	case opIoctl:
		at = inHeaderSize + 28 // fuse_ioctl_in.out_size
	default:
		return smallReply
	}
	if len(r.in) < at+4 {
		return smallReply
	}
	n := binary.NativeEndian.Uint32(r.in[at:])
	return max(smallReply, outHeaderSize+256+int(min(n, maxIO)))
}

// cost is the memory that handling the request pins, in bytes, beyond what any
// request does.
func (r *request) cost() int {
	n := 0
	if r.buf != nil {
		n += len(*r.buf)
	}
	if size := r.replySize(); size > smallReply {
		n += size
	}
	return n
}

// inputCost is the memory that a request occupies while it waits, in bytes.
func (r *request) inputCost() int {
	if r.buf != nil {
		return len(*r.buf)
	}
	return len(r.in)
}

// initFlags returns what was negotiated, of a reply to INIT.
func initFlags(reply []byte) uint64 {
	body := reply[outHeaderSize:]
	if len(body) < 36 {
		return 0
	}
	// struct fuse_init_out: flags and flags2
	return uint64(binary.NativeEndian.Uint32(body[12:])) | uint64(binary.NativeEndian.Uint32(body[32:]))<<32
}

// errorReply is a reply that has no more than an error.
func errorReply(unique uint64, status fuse.Status) []byte {
	b := make([]byte, outHeaderSize)
	binary.NativeEndian.PutUint32(b, outHeaderSize)
	binary.NativeEndian.PutUint32(b[4:], uint32(-int32(status))) //nolint:gosec // negative on the wire
	binary.NativeEndian.PutUint64(b[8:], unique)
	return b
}

// replyHeader is what comes before n bytes of an answer.
func replyHeader(unique uint64, n int) []byte {
	b := errorReply(unique, fuse.OK)
	binary.NativeEndian.PutUint32(b, uint32(outHeaderSize+n)) //nolint:gosec // at most maxIO
	return b
}

// notifyInvalInode is FUSE_NOTIFY_INVAL_INODE.
const notifyInvalInode = 2

// invalidation tells the kernel that it does not know a node's attributes.
func invalidation(node uint64) []byte {
	b := make([]byte, outHeaderSize+24)              // fuse_notify_inval_inode_out
	binary.NativeEndian.PutUint32(b, uint32(len(b))) //nolint:gosec // 40
	binary.NativeEndian.PutUint32(b[4:], notifyInvalInode)
	binary.NativeEndian.PutUint64(b[outHeaderSize:], node)
	binary.NativeEndian.PutUint64(b[outHeaderSize+8:], ^uint64(0)) // off -1: no pages
	return b
}

// interruptRequest is the request with which the kernel interrupts another.
func interruptRequest(unique uint64) []byte {
	b := make([]byte, inHeaderSize+8)
	binary.NativeEndian.PutUint32(b, uint32(len(b))) //nolint:gosec // 48
	binary.NativeEndian.PutUint32(b[4:], opInterrupt)
	binary.NativeEndian.PutUint64(b[8:], unique|1) // FUSE_INT_REQ_BIT
	binary.NativeEndian.PutUint64(b[inHeaderSize:], unique)
	return b
}

// bufferPool recycles buffers of one length and lets the collector have them
// when the mount is idle.
type bufferPool struct {
	size int
	pool sync.Pool
}

func (p *bufferPool) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, p.size)
	return &b
}

func (p *bufferPool) put(b *[]byte) { p.pool.Put(b) }
