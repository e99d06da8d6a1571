package fusefs_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	goleak.VerifyTestMain(m)
}

// mounted is a live mount served by this process.
type mounted struct {
	fs     *fusefs.FS
	dir    string // where it is mounted
	root   string // what the server serves
	remote *dirRemote
	backer *kernelBacker
}

// kernelBacker tells the kernel of files, as the node does.
type kernelBacker struct {
	server *fuse.Server
	known  atomic.Int64 // files that it is to know
	err    atomic.Value // what Back returned last, if that was an error
}

func (b *kernelBacker) Back(_ context.Context, f *os.File) (int32, error) {
	id, errno := b.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno != 0 {
		b.err.Store(errno)
		return 0, errno
	}
	b.known.Add(1)
	return id, nil
}

func (b *kernelBacker) Unback(id int32) {
	b.known.Add(-1)
	_ = b.server.UnregisterBackingFd(id)
}

// path returns the path of a name below the mount, served that below the
// served directory.
func (m *mounted) path(name string) string   { return filepath.Join(m.dir, name) }
func (m *mounted) served(name string) string { return filepath.Join(m.root, name) }

// testSpec is a volume whose limits are small enough to be met.
func testSpec() volume.Spec {
	return volume.Spec{
		AttrTimeout:  time.Second,
		EntryTimeout: time.Second,
		CacheSize:    8 << 20,
		BlockSize:    1 << 20,
		DirtyLimit:   16 << 20,
		IOTimeout:    20 * time.Second,
	}
}

// mountDir mounts an empty directory.
func mountDir(t *testing.T, change func(*fusefs.Config)) *mounted {
	t.Helper()
	remote := &dirRemote{root: t.TempDir()}
	m := mountRemote(t, remote, remote.root, change)
	m.remote = remote
	return m
}

// mountRemote mounts a server's directory, which is root here.
func mountRemote(t *testing.T, remote fusefs.Remote, root string, change func(*fusefs.Config)) *mounted {
	t.Helper()
	cfg := fusefs.Config{
		Remote:         remote,
		Spec:           testSpec(),
		InterruptGrace: 5 * time.Second,
		RetryDelay:     10 * time.Millisecond,
		Logger:         slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if change != nil {
		change(&cfg)
	}
	fs, err := fusefs.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir, backer := serve(t, fs)
	return &mounted{fs: fs, dir: dir, root: root, backer: backer}
}

// serve mounts fs until the end of the test, or skips the test.
func serve(t *testing.T, fs *fusefs.FS) (string, *kernelBacker) {
	t.Helper()
	dir := t.TempDir()
	closeFS := func() {
		if err := fs.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if os.Geteuid() != 0 {
		closeFS()
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		closeFS()
		t.Skipf("mounting needs FUSE: %v", err)
	}
	server, err := fuse.NewServer(fs, dir, &fuse.MountOptions{
		AllowOther:        true,
		DirectMountStrict: true,
		Options:           []string{"default_permissions"},
		MaxWrite:          1 << 20,
		DisableSplice:     true, // pipes hold less than the longest reply
		Debug:             os.Getenv("FUSEFS_DEBUG") != "",
	})
	if err != nil {
		closeFS()
		t.Skipf("mount: %v", err)
	}
	backer := &kernelBacker{server: server}
	go server.Serve() // ends with Unmount
	if err := server.WaitMount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the kernel knows no file any more", func() bool {
			return backer.known.Load() == 0 && fs.Stats().Passthrough.Files == 0
		})
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
		if st := fs.Stats(); st.Cache.Used > st.Cache.Budget || st.Spool.Used > st.Spool.Limit {
			t.Errorf("over budget: %+v", st)
		}
		closeFS()
	})
	return dir, backer
}

// testLog makes lines of a log lines of a test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("timed out: %s", what)
		}
	}
}
