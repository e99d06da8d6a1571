package worker

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// watchedFS notes what READs it gets.
type watchedFS struct {
	memFS

	mu      sync.Mutex
	largest uint32
	now     int // READs that wait
	most    int
}

func (w *watchedFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	w.mu.Lock()
	w.largest = max(w.largest, in.Size)
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	timer := time.NewTimer(20 * time.Millisecond) // read-ahead sends the next without waiting for this
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-cancel:
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
	}()
	return w.memFS.Read(cancel, in, buf)
}

// What the mount negotiates and the node sets makes a program that reads 128 KiB
// at a time cause READs of 1 MiB, several at a time.
func TestKernelReadsAhead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	w := &watchedFS{memFS: memFS{RawFileSystem: fuse.NewDefaultRawFileSystem()}}
	serveLoop(t, w, dir)
	raiseReadAhead(t, dir)
	if out, err := exec.CommandContext(t.Context(), "dd", "if="+dir+"/f", "of=/dev/null", "bs=128k", "count=256").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.largest != maxIO || w.most < 2 {
		t.Errorf("READs of %d bytes at most, %d at a time; want %d, several", w.largest, w.most, maxIO)
	}
}
