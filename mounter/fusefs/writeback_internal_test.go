package fusefs

import (
	"bytes"
	"log/slog"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/spool"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// newBack returns a file system of one file that can do no more than keep account
// of what is to be done for it.
func newBack(t *testing.T) (*FS, *node) {
	t.Helper()
	fs := &FS{
		log: slog.New(slog.DiscardHandler), back: newWriteback(), spool: spool.New(1 << 20),
		tree: newTree(uftp.Info{}),
	}
	n, _, err := fs.tree.enter(fs.tree.root, "f", uftp.Info{}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return fs, n
}

// waitForLock returns when some goroutine waits in function for a mutex.
func waitForLock(t *testing.T, function string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		for g := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(g, "[sync.Mutex.Lock") && strings.Contains(g, function) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nobody waits in %s:\n%s", function, stacks.String())
		}
	}
}

// TestWriteBesideTheEndOfAnUpload: who writes when an upload has just sent the
// last byte, and finds the job still there, has that job kept.
func TestWriteBesideTheEndOfAnUpload(t *testing.T) {
	fs, n := newBack(t)
	fs.spool.TryWrite(n.id, []byte("old"), 0)
	fs.back.mark(fs, n)
	batch, _ := fs.spool.Take(n.id, 100, spool.Always)
	fs.spool.Commit(n.id, batch)

	fs.back.mu.Lock()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		fs.settle(n, nil)
	}()
	waitForLock(t, "(*FS).settle")
	fs.spool.TryWrite(n.id, []byte("new"), 3)
	known := fs.back.jobs[n] != nil // this is what mark looks at
	fs.back.mu.Unlock()
	if !known {
		t.Fatal("no job to begin with")
	}
	<-settled
	if len(fs.back.nodes()) == 0 {
		t.Error("what was written is nobody's job")
	}
}

// TestJobAfterJob: the end of one job of a file is not that of the next one, which
// is being done already.
func TestJobAfterJob(t *testing.T) {
	fs, n := newBack(t)
	begin := func() *job {
		fs.spool.TryWrite(n.id, []byte("data"), 0)
		fs.back.mark(fs, n)
		due, _ := fs.due(time.Now().Add(time.Hour))
		return due[n]
	}
	first := begin()
	fs.spool.Drop(n.id)
	fs.settle(n, nil)
	if second := begin(); first == nil || second == nil || first == second {
		t.Fatalf("jobs %p and %p", first, second)
	}
	fs.back.done(first)
	if due, _ := fs.due(time.Now().Add(time.Hour)); len(due) > 0 {
		t.Error("a job that is being done is due again")
	}
	fs.back.done(fs.back.jobs[n])
	if due, _ := fs.due(time.Now().Add(time.Hour)); len(due) != 1 {
		t.Errorf("%d jobs due", len(due))
	}
}

// TestDrainCounts: what is left is an error even if nobody knows of it.
func TestDrainCounts(t *testing.T) {
	fs, n := newBack(t)
	if err := fs.Drain(t.Context()); err != nil {
		t.Errorf("nothing is left: %v", err)
	}
	fs.spool.TryWrite(n.id, []byte("data"), 0)
	if err := fs.Drain(t.Context()); Errno(err) != syscall.EIO {
		t.Errorf("4 bytes are left: %v", err)
	}
}
