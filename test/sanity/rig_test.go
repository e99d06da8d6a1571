package sanity_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/provisioner"
	"github.com/csi-uftp/csi-uftp/secrets"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// node is a machine with the driver on it, and a server.
type node struct {
	server     *uftptest.Server
	dir        string
	base       string // on the server, which is this machine
	endpoint   string
	log        *logBuffer // of driver, manager and keeper
	workers    string     // file with the workers' log
	node       csi.NodeClient
	controller csi.ControllerClient
}

func needFUSE(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("mounting needs root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		tb.Skipf("no FUSE here: %v", err)
	}
	_ = f.Close()
}

// start makes a node for the time of the test. Nothing of it may be left then.
func start(tb testing.TB, cfg uftptest.Config) *node {
	tb.Helper()
	needFUSE(tb)
	// Not tb.TempDir: a socket's path must be short, and RemoveAll must not run
	// into a mount that was left.
	dir, err := os.MkdirTemp("", "csi") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	n := &node{
		server: uftptest.Start(tb, cfg), dir: dir, log: &logBuffer{},
		endpoint: "unix://" + filepath.Join(dir, "csi.sock"), workers: filepath.Join(dir, "workers.log"),
	}
	n.base = filepath.Join(n.server.Dir(), "volumes")
	if err := os.Mkdir(n.base, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if n.leftMounts(tb) {
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		if tb.Failed() {
			out, _ := os.ReadFile(n.workers)
			tb.Logf("driver, manager and keeper:\n%s\nworkers:\n%s", n.log, out)
		}
	})
	log := slog.New(slog.NewJSONHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.startDriver(tb, n.startManager(tb, log), log)
	conn, err := grpc.NewClient(n.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	n.node, n.controller = csi.NewNodeClient(conn), csi.NewControllerClient(conn)
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	if _, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		tb.Fatal(err)
	}
	return n
}

// startManager starts a keeper on a socket, and a manager that uses it.
func (n *node) startManager(tb testing.TB, log *slog.Logger) *mounter.Manager {
	tb.Helper()
	stderr, err := os.Create(n.workers)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = stderr.Close() })
	k, err := keeper.New(keeper.Config{
		Logger: log, Stderr: stderr,
		Env: []string{"GORACE=atexit_sleep_ms=0"}, // under the race detector, do not wait a second to exit
	})
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(n.dir, "keeper.sock")
	l, err := keeper.Listen(socket)
	if err != nil {
		tb.Fatal(err)
	}
	run(tb, "keeper", func(ctx context.Context) error { return k.Serve(ctx, l) })
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			tb.Errorf("close keeper: %v", err)
		}
	})
	m, err := mounter.New(mounter.Config{
		PluginDir:    filepath.Join(n.dir, "plugin"),
		Connect:      func(ctx context.Context) (*keeper.Client, error) { return keeper.Dial(ctx, socket) },
		Logger:       log,
		DrainTimeout: 5 * time.Second,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Errorf("close manager: %v", err)
		}
	})
	return m
}

func (n *node) startDriver(tb testing.TB, m *mounter.Manager, log *slog.Logger) {
	tb.Helper()
	p, err := provisioner.New(provisioner.Config{Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("close provisioner: %v", err)
		}
	})
	d, err := driver.New(driver.Config{
		Endpoint: n.endpoint, NodeID: "node-1", Mounter: m, Provisioner: p, Credentials: secrets.Resolver{}, Logger: log,
	})
	if err != nil {
		tb.Fatal(err)
	}
	run(tb, "driver", d.Run)
}

// run runs f until the test ends.
func run(tb testing.TB, name string, f func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("%s: %v", name, err)
		}
	})
}

// leftMounts reports, as an error, and removes what is still mounted.
func (n *node) leftMounts(tb testing.TB) bool {
	tb.Helper()
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	if err != nil {
		tb.Error(err)
		return true
	}
	for _, m := range left {
		tb.Errorf("mount left: %s", m.Mountpoint)
		_ = unix.Unmount(m.Mountpoint, unix.MNT_DETACH)
	}
	return len(left) > 0
}

func (n *node) target(name string) string { return filepath.Join(n.dir, name) }

// secret is what a Secret with the right credentials holds.
func (n *node) secret() map[string]string {
	return map[string]string{
		"username": uftptest.DefaultUserName, "password": uftptest.DefaultUserPassword, "ca.crt": string(n.server.CABundle()),
	}
}

// publishRequest is a request that works, to be changed by the tests.
func (n *node) publishRequest() *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: "vol-1", TargetPath: n.target("t1"), Secrets: n.secret(),
		VolumeContext:    map[string]string{"authURL": n.server.AuthURL(), "path": n.base},
		VolumeCapability: mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
	}
}

// createRequest is a request that works, to be changed by the tests.
func (n *node) createRequest() *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: "pvc-1", Secrets: n.secret(), CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30},
		Parameters: map[string]string{"authURL": n.server.AuthURL(), "path": n.base, "onDelete": "delete"},
		VolumeCapabilities: []*csi.VolumeCapability{
			mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)},
	}
}

func (n *node) publish(tb testing.TB, req *csi.NodePublishVolumeRequest) {
	tb.Helper()
	if _, err := n.node.NodePublishVolume(tb.Context(), req); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { n.unpublish(tb, req.GetVolumeId(), req.GetTargetPath()) })
}

func (n *node) unpublish(tb testing.TB, id, target string) {
	tb.Helper()
	req := &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: target}
	if _, err := n.node.NodeUnpublishVolume(context.WithoutCancel(tb.Context()), req); err != nil {
		tb.Errorf("unpublish %s: %v", target, err)
	}
	if _, err := os.Lstat(target); err == nil {
		tb.Errorf("target %s is still there", target)
	}
}

func mountCapability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}
}

func contains(s string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}
