package mounter_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// passedFile is a served file of which the disk cache has all.
type passedFile struct {
	*env
	name string
	want []byte
	s    *uftptest.Server
}

func servePassed(t *testing.T) *passedFile {
	t.Helper()
	needPassthrough(t)
	f := &passedFile{env: newEnv(t), s: uftptest.Start(t, uftptest.Config{}), want: make([]byte, 5<<20+77)}
	f.replace(1, time.Hour)
	p := f.publication("v1", "a")
	p.Spec = serverSpec(f.s)
	p.Spec.CacheDir = f.served
	if err := f.manager.Publish(t.Context(), p, serverAccess(f.s)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.manager.Unpublish(context.Background(), p.VolumeID, p.Target); err != nil {
			t.Errorf("unpublish: %v", err)
		}
	})
	f.name = filepath.Join(p.Target, "file")
	_ = f.opens("v1", "a").Close()
	return f
}

// replace gives the file another content, of some age.
func (f *passedFile) replace(seed byte, age time.Duration) {
	f.t.Helper()
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(f.want)
	name, then := filepath.Join(f.s.Dir(), "file"), time.Now().Add(-age)
	if err := os.WriteFile(name, f.want, 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(name, then, then); err != nil {
		f.t.Fatal(err)
	}
}

// counter returns what the worker has counted.
func (f *passedFile) counter(id, target, name string) int64 {
	f.t.Helper()
	st, err := f.manager.Stats(f.t.Context(), id, filepath.Join(f.dir, "pods", target))
	if err != nil || st.Abnormal != "" {
		f.t.Fatal(err, st.Abnormal)
	}
	n, ok := st.Counters[name]
	if !ok {
		f.t.Fatalf("no counter %s", name)
	}
	return n
}

// opens reads the file until it is passed through, and returns it, open.
func (f *passedFile) opens(id, target string) *os.File {
	f.t.Helper()
	const name = "files_passthrough_opens"
	before := f.counter(id, target, name)
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; {
		file, err := os.Open(f.name)
		if err != nil {
			f.t.Fatal(err)
		}
		if f.counter(id, target, name) > before {
			f.t.Cleanup(func() { _ = file.Close() })
			return file
		}
		if f.counter(id, target, "files_passthrough_refused") > 0 {
			f.t.Skip("the kernel passes nothing through here")
		}
		_, err = io.Copy(io.Discard, file)
		if _ = file.Close(); err != nil {
			f.t.Fatal(err)
		}
		select {
		case <-tick:
		case <-deadline:
			f.t.Fatal("never passed through")
		}
	}
}

// stopWorker keeps the worker from doing anything, for as long as f takes.
func (f *passedFile) stopWorker(do func()) {
	f.t.Helper()
	pid := f.lastWorker()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = unix.Kill(pid, unix.SIGCONT) }()
	do()
}

func (f *passedFile) wantBytes(what string, r io.ReaderAt, want []byte) {
	f.t.Helper()
	got := make([]byte, len(want)+1)
	n, err := r.ReadAt(got, 0)
	if err != io.EOF || !bytes.Equal(got[:n], want) {
		f.t.Errorf("%s: %d bytes of %d, or others, %v", what, n, len(want), err)
	}
}

// TestPassthrough: whole files on the disk are read by the kernel itself, for a
// worker without privileges: it may even stand still.
func TestPassthrough(t *testing.T) {
	f := servePassed(t)
	one, two := f.opens("v1", "a"), f.opens("v1", "a")
	f.stopWorker(func() {
		f.wantBytes("one", one, f.want)
		f.wantBytes("two", two, f.want)
	})
	if n := f.counter("v1", "a", "files_passthrough_files"); n != 1 {
		t.Errorf("%d files are known to the kernel, want one", n)
	}
	cached := f.cached()
	if !f.inUse(cached) {
		t.Error("what the kernel reads may be removed to make room")
	}
	// The server has another content: who opens the file now gets it.
	old := bytes.Clone(f.want)
	f.replace(2, time.Minute)
	got, err := os.ReadFile(f.name)
	if err != nil || !bytes.Equal(got, f.want) {
		t.Errorf("the new content: %d bytes, %v", len(got), err)
	}
	f.stopWorker(func() { f.wantBytes("old", one, old) })
	three := f.opens("v1", "a")
	f.stopWorker(func() { f.wantBytes("new", three, f.want) })

	// And the kernel forgets what nobody has open.
	for _, file := range []*os.File{one, two, three} {
		_ = file.Close()
	}
	eventually(t, "nothing is known to the kernel", func() bool { return f.counter("v1", "a", "files_passthrough_files") == 0 })
	eventually(t, "it may be removed", func() bool { return !f.inUse(cached) })
}

// cached returns the one file of the disk cache.
func (f *passedFile) cached() *os.File {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.served, "*", "*.data"))
	if more, _ := filepath.Glob(filepath.Join(f.served, "*.data")); err == nil {
		found = append(found, more...)
	}
	if len(found) != 1 {
		f.t.Fatalf("files in the cache: %q, %v", found, err)
	}
	file, err := os.Open(found[0])
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = file.Close() })
	return file
}

// inUse reports whether somebody holds a file of the disk cache.
func (f *passedFile) inUse(file *os.File) bool {
	f.t.Helper()
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = unix.Flock(int(file.Fd()), unix.LOCK_UN)
	}
	if err != nil && err != unix.EWOULDBLOCK {
		f.t.Fatal(err)
	}
	return err != nil
}

// TestPassthroughNodeRestarts: the next node process does it for the same mounts.
func TestPassthroughNodeRestarts(t *testing.T) {
	f := servePassed(t)
	file := f.opens("v1", "a")
	if err := f.manager.Close(); err != nil {
		t.Fatal(err)
	}
	f.stopWorker(func() { f.wantBytes("without a node", file, f.want) })
	f.manager = f.newManager()
	if err := f.manager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	again := f.opens("v1", "a")
	f.stopWorker(func() { f.wantBytes("with another node", again, f.want) })
}

// TestCheckBacking: a worker that was taken over cannot have the kernel read, or
// write, what it could not itself.
func TestCheckBacking(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs files of several users")
	}
	const worker = 65534
	dir := t.TempDir()
	own := filepath.Join(dir, "own")
	if err := os.WriteFile(own, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, worker, worker); err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "ours")
	if err := os.WriteFile(ours, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path  string
		flags int
		ok    bool
	}{
		{own, unix.O_RDONLY, true},
		{own, unix.O_RDWR, false},
		{own, unix.O_WRONLY, false},
		{own, unix.O_PATH, false},
		{ours, unix.O_RDONLY, false},
		{dir, unix.O_RDONLY, false},
		{filepath.Join(dir, "fifo"), unix.O_RDONLY | unix.O_NONBLOCK, false},
		{"/proc/sys/kernel/core_pattern", unix.O_RDONLY, false},
		{"/proc/self/environ", unix.O_RDONLY, false},
		{"/dev/null", unix.O_RDONLY, false},
	} {
		t.Run(fmt.Sprintf("%s/%#x", filepath.Base(tc.path), tc.flags), func(t *testing.T) {
			n, err := unix.Open(tc.path, tc.flags|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(n)
			if err := mounter.CheckBacking(n, worker); (err == nil) != tc.ok {
				t.Errorf("%v, want to be allowed: %t", err, tc.ok)
			}
		})
	}
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
