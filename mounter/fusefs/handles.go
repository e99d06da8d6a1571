package fusefs

import (
	"sync"
	"syscall"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// handle is an open file.
type handle struct {
	id     uint64
	n      *node
	flags  uint32 // of open(2)
	epoch  uint64 // the version that was opened, see node
	reader *blockcache.Reader
	passed *passed // the kernel reads it itself, nil if not
}

func (h *handle) writable() bool { return writes(h.flags) }

// writes reports whether open(2) flags allow writing.
func writes(flags uint32) bool { return flags&syscall.O_ACCMODE != syscall.O_RDONLY }

// reads reports whether open(2) flags allow reading.
func reads(flags uint32) bool { return flags&syscall.O_ACCMODE != syscall.O_WRONLY }

// handles is the table of open files and directories.
type handles struct {
	mu    sync.Mutex // guards what follows
	last  uint64
	files map[uint64]*handle
	dirs  map[uint64]*dirHandle
}

func newHandles() *handles {
	return &handles{files: make(map[uint64]*handle), dirs: make(map[uint64]*dirHandle)}
}

func (t *handles) addFile(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	h.id = t.last
	t.files[h.id] = h
}

func (t *handles) addDir(d *dirHandle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	d.id = t.last
	t.dirs[d.id] = d
}

// file returns an open file. EBADF is what a handle from nowhere deserves.
func (t *handles) file(id uint64) (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.files[id]; h != nil {
		return h, nil
	}
	return nil, syscall.EBADF
}

func (t *handles) dir(id uint64) (*dirHandle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.dirs[id]; d != nil {
		return d, nil
	}
	return nil, syscall.EBADF
}

// drop forgets a handle and returns it, if it is known: a file or a directory.
func (t *handles) drop(id uint64) (*handle, *dirHandle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, d := t.files[id], t.dirs[id]
	delete(t.files, id)
	delete(t.dirs, id)
	return h, d
}

func (t *handles) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.files) + len(t.dirs)
}
