package mounter_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// env is a node: a keeper on a socket, a manager, and a directory for pods.
type env struct {
	t       testing.TB
	dir     string
	socket  string
	plugin  string
	served  string // what the fake serves
	log     *logBuffer
	stderr  *os.File // of the workers
	keeper  *keeper.Keeper
	stop    func() // the keeper's listener
	manager *mounter.Manager
}

func needFUSE(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	_ = f.Close()
}

func newEnv(t testing.TB) *env {
	t.Helper()
	needFUSE(t)
	fds := countFDs(t)
	dir := t.TempDir()
	e := &env{
		t: t, dir: dir, log: new(logBuffer),
		socket: filepath.Join(dir, "keeper.sock"),
		plugin: filepath.Join(dir, "plugin"),
		served: filepath.Join(dir, "served"),
	}
	err := os.Mkdir(e.served, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	// The worker is another user.
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, e.served: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if e.stderr, err = os.Create(filepath.Join(dir, "workers.log")); err != nil {
		t.Fatal(err)
	}
	e.startKeeper()
	e.manager = e.newManager()
	t.Cleanup(func() {
		e.log.add("--- end of test ---\n")
		_ = e.manager.Close()
		e.stopKeeper()
		for _, mp := range e.mounts() {
			t.Errorf("mount left: %s", mp)
			_ = unix.Unmount(mp, unix.MNT_DETACH)
		}
		if left := workersOf(e.keeperLogPIDs()); len(left) > 0 {
			t.Errorf("worker processes left: %v", left)
		}
		_ = e.stderr.Close()
		b, _ := os.ReadFile(e.stderr.Name())
		if bytes.Contains(b, []byte("DATA RACE")) {
			t.Error("data race in a worker")
		}
		if t.Failed() {
			t.Logf("manager and keeper:\n%s\nworkers:\n%s", e.log, b)
		}
		eventually(t, "descriptors closed", func() bool { return countFDs(t) <= fds })
	})
	return e
}

func (e *env) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (e *env) startKeeper() {
	e.t.Helper()
	k, err := keeper.New(keeper.Config{
		Logger: e.logger().With("process", "keeper"),
		Stderr: e.stderr,
		// The fake workers change local files, as no other worker does.
		Writable: []string{e.served},
		Env:      []string{"GORACE=atexit_sleep_ms=0"}, // under the race detector, do not wait a second to exit
	})
	if err != nil {
		e.t.Fatal(err)
	}
	l, err := keeper.Listen(e.socket)
	if err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Serve(ctx, l); err != nil {
			e.t.Errorf("keeper: %v", err)
		}
	}()
	e.keeper, e.stop = k, sync.OnceFunc(func() { cancel(); <-done })
}

func (e *env) stopKeeper() {
	e.t.Helper()
	e.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.keeper.Close(ctx); err != nil {
		e.t.Errorf("close keeper: %v", err)
	}
}

func (e *env) newManager() *mounter.Manager {
	e.t.Helper()
	m, err := mounter.New(mounter.Config{
		PluginDir:    e.plugin,
		Connect:      func(ctx context.Context) (*keeper.Client, error) { return keeper.Dial(ctx, e.socket) },
		Logger:       e.logger().With("process", "node"),
		DrainTimeout: 2 * time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

// restartNode replaces the manager as a restart of the node pod does.
func (e *env) restartNode() {
	e.t.Helper()
	if err := e.manager.Close(); err != nil {
		e.t.Fatal(err)
	}
	e.manager = e.newManager()
	if err := e.manager.Recover(e.t.Context()); err != nil {
		e.t.Fatalf("recover: %v", err)
	}
}

func (e *env) spec() volume.Spec {
	return volume.Spec{AuthURL: fakeURL, Path: e.served, Sharing: "auto", CacheSize: 1 << 20, DirtyLimit: 1 << 20}
}

func (e *env) publication(id, target string) volume.Publication {
	return volume.Publication{VolumeID: id, Target: filepath.Join(e.dir, "pods", target), Spec: e.spec()}
}

func (e *env) publish(p volume.Publication) {
	e.t.Helper()
	if err := e.manager.Publish(e.t.Context(), p, access("demo", goodPassword)); err != nil {
		e.t.Fatalf("publish %s: %v", p.Target, err)
	}
}

func (e *env) unpublish(p volume.Publication) {
	e.t.Helper()
	if err := e.manager.Unpublish(e.t.Context(), p.VolumeID, p.Target); err != nil {
		e.t.Fatalf("unpublish %s: %v", p.Target, err)
	}
	if _, err := os.Lstat(p.Target); !os.IsNotExist(err) {
		e.t.Errorf("target after unpublish: %v", err)
	}
}

// wantNothing checks that no mount, worker or directory is left, soon.
func (e *env) wantNothing() {
	e.t.Helper()
	eventually(e.t, "workers end", func() bool { return len(workersOf(e.keeperLogPIDs())) == 0 })
	eventually(e.t, "mounts go", func() bool { return len(e.mounts()) == 0 })
	eventually(e.t, "mount directories go", func() bool {
		left, err := os.ReadDir(filepath.Join(e.plugin, "mounts"))
		return err == nil && len(left) == 0
	})
}

// mounts returns where something is mounted below the environment's directory.
func (e *env) mounts() []string {
	e.t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(e.dir))
	if err != nil {
		e.t.Fatal(err)
	}
	var points []string
	for _, i := range infos {
		points = append(points, i.Mountpoint)
	}
	slices.Sort(points)
	slices.Reverse(points)
	return points
}

// sources returns the mounts in the plugin's directory.
func (e *env) sources() []string {
	return slices.DeleteFunc(e.mounts(), func(p string) bool { return !strings.HasPrefix(p, e.plugin) })
}

// keeperLogPIDs returns the workers that were ever started.
func (e *env) keeperLogPIDs() []int {
	var pids []int
	for line := range strings.Lines(e.log.String()) {
		_, rest, ok := strings.Cut(line, "worker_pid=")
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.Fields(rest)[0])
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lastWorker returns the worker started last.
func (e *env) lastWorker() int {
	e.t.Helper()
	pids := e.keeperLogPIDs()
	if len(pids) == 0 {
		e.t.Fatal("no worker was started")
	}
	return pids[len(pids)-1]
}

// workersOf returns those of pids that live.
func workersOf(pids []int) []int {
	return slices.DeleteFunc(pids, func(pid int) bool { return !alive(pid) })
}

// alive reports whether a process runs. One that has ended and whose parent has
// not noticed does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second) // what should take no time, on a busy machine
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("not in time: %s", what)
			return
		}
	}
}

func countFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasPrefix(link, "anon_inode:") { // Go's poller, made once
			continue
		}
		n++
	}
	return n
}

// shell runs a command line as an application in a pod would.
func shell(t testing.TB, line string, args ...any) string {
	t.Helper()
	line = fmt.Sprintf(line, args...)
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-ec", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) add(s string) { _, _ = l.Write([]byte(s)) }

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
