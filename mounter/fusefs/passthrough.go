package fusefs

import (
	"context"
	"os"
	"syscall"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// Whole files on the disk are read by the kernel itself: an open that is answered
// with the file's number there never asks for a byte.
//
// The kernel has rules. While a file is open in that way every open of its inode
// has to be, with the same number; and while it is open in another way none can
// be. So a file is passed through to whoever finds it not open, and to those who
// come while he has it. Who comes to write, or finds another content, cannot be
// served on that inode. The node is given up then, like a file that is removed
// while it is open, and the opener is told ESTALE: the kernel looks the name up
// again, finds a new inode there, and opens that, without anybody noticing. It
// does so once only, so that nobody may have got the new inode passed through
// before him. Who had the file open keeps what he opened, to the end.

// Backer tells the kernel of files on the disk.
type Backer interface {
	// Back has the kernel know f, which the caller may close then, by a number.
	// An error means that files cannot be passed through, now or ever.
	Back(ctx context.Context, f *os.File) (id int32, err error)
	// Unback ends that. Files that are open stay so. It does not wait.
	Unback(id int32)
}

// PassThrough gives the file system the way to have the kernel read whole files
// on the disk itself. Without one they are read from the disk cache.
func (fs *FS) PassThrough(b Backer) { fs.backer.Store(&b) }

// PassthroughStats is a snapshot of what the kernel reads itself. Counters are
// totals.
type PassthroughStats struct {
	Files    int64 // open now
	Opens    int64
	Refused  int64 // opens of whole files that the kernel or the node did not pass
	Replaced int64 // files that were given up for those who write, or see another content
}

const (
	// passFrom is how large a file must be: to pass one through takes as long
	// as to read so much, in bytes.
	passFrom = 1 << 20
	// mostPassed bounds how many files the kernel knows at a time.
	mostPassed = 512
)

// passed is a content that the kernel reads itself while somebody has it open.
type passed struct {
	version blockcache.Version
	id      int32
	done    func() // ends that it is kept on the disk
	opens   int    // guarded by node.mu
}

// passable reports whether open(2) flags allow that the kernel reads. O_DIRECT is
// for file systems that know it.
func passable(flags uint32) bool {
	return !writes(flags) && flags&(syscall.O_TRUNC|syscall.O_DIRECT) == 0
}

// offer has the kernel know all of n, if it is on the disk and may be passed to
// whoever opens it with flags. The caller holds n's op gate, and takes it or ends
// it.
func (fs *FS) offer(ctx context.Context, n *node, flags uint32) *passed {
	backer := fs.backer.Load()
	if backer == nil || fs.cfg.Disk == nil || !passable(flags) || fs.tree.isHeir(n) || fs.passing.files.Load() >= mostPassed {
		return nil
	}
	n.mu.Lock()
	version, alone := n.version(), n.passed == nil && len(n.handles) == 0
	n.mu.Unlock()
	if !alone || version.Size < passFrom {
		return nil
	}
	x, ok := fs.onDisk(blockcache.Key{File: n.id, Version: version})
	if !ok {
		return nil
	}
	f, ok := fs.cfg.Disk.Complete(x)
	if !ok {
		return nil
	}
	defer func() { _ = f.Close() }()
	id, err := (*backer).Back(ctx, f)
	if err != nil {
		fs.passing.refused.Add(1)
		return nil
	}
	fs.passing.files.Add(1)
	return &passed{version: version, id: id, done: fs.cfg.Disk.Keep(x)}
}

// end takes back what offer did.
func (fs *FS) end(p *passed) {
	(*fs.backer.Load()).Unback(p.id)
	p.done()
	fs.passing.files.Add(-1)
}

// pass decides whether h's file is passed through, by what is offered or as it is
// already, and says no more than whether h can have it at all. n.mu is held.
func (n *node) pass(h *handle, offered *passed, clean bool) (ok bool) {
	switch p := n.passed; {
	case p != nil && (!passable(h.flags) || p.version != n.version() || !clean):
		return false
	case p != nil:
		h.passed = p
	case offered == nil || offered.version != n.version() || len(n.handles) > 0 || !clean:
		return true
	default:
		n.passed, h.passed = offered, offered
	}
	h.passed.opens++
	return true
}

// unpass notes that h is closed, and returns what is to be ended, if anything.
// n.mu is held.
func (n *node) unpass(h *handle) *passed {
	p := h.passed
	if p == nil {
		return nil
	}
	if p.opens--; p.opens > 0 {
		return nil
	}
	n.passed = nil
	return p
}

// giveUp takes n's path from it if it is passed through, for somebody whom the
// kernel would not let do what he wants then: to change the file, or to read
// another content. He gets an error that makes the kernel look the name up again.
func (fs *FS) giveUp(n *node, change bool) error {
	n.mu.Lock()
	passed := n.passed != nil
	n.mu.Unlock()
	if !passed {
		return nil
	}
	fs.passing.replaced.Add(1)
	fs.tree.giveUp(n, change)
	return errStale
}
