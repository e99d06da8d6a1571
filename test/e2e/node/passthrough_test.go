package node_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestPassthrough: a pod reads what is whole on the node's disk while the worker
// stands still, also through another pod's publication, and after the node
// service was killed.
func TestPassthrough(t *testing.T) {
	t.Parallel()
	needPassthrough(t)
	s := uftptest.Start(t, uftptest.Config{})
	data := content(3, 8<<20+1)
	name, hour := filepath.Join(s.Dir(), "in"), time.Now().Add(-time.Hour)
	s.WriteFile(t, "in", data)
	if err := os.Chtimes(name, hour, hour); err != nil {
		t.Fatal(err)
	}
	n := startNode(t)
	one := n.mount(t, s, "one", "cacheDir="+n.cacheDir())
	two := n.mount(t, s, "two", "cacheDir="+n.cacheDir())
	n.wantPassed(t, filepath.Join(one.target, "in"), data)
	n.wantPassed(t, filepath.Join(two.target, "in"), data)
	n.node.kill(t)
	n.startNode(t)
	n.wantPassed(t, filepath.Join(two.target, "in"), data)
}

// wantPassed opens a file until it can be read without a worker.
func (n *node) wantPassed(t *testing.T, path string, want []byte) {
	t.Helper()
	waitFor(t, "the kernel reads the file itself", func() bool {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !n.readsAlone(t, f) {
			_, err := io.Copy(io.Discard, f)
			return err != nil
		}
		got, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "passed through", got, want)
		return true
	})
}

// readsAlone reports whether a file can be read while the workers stand still.
// They go on after it.
func (n *node) readsAlone(t *testing.T, f *os.File) bool {
	t.Helper()
	// What the kernel has in its own cache would prove nothing.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	pids := n.workers(t)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(make([]byte, 1<<20), 4<<20)
		read <- err
	}()
	alone := false
	select {
	case err := <-read:
		read <- err
		alone = err == nil
	case <-time.After(300 * time.Millisecond):
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	return alone
}

// needPassthrough skips the test where the kernel cannot read files itself.
func needPassthrough(t *testing.T) {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if major < 6 || major == 6 && minor < 9 {
		t.Skipf("Linux %d.%d has no FUSE passthrough", major, minor)
	}
}
