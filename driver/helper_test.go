package driver_test

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
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/driver"
)

const authURL = "https://auth.example.org:9000/rest/auth/TEST"

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

func (b *logBuffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

// rig is a driver that serves on a real socket.
type rig struct {
	mounter     *fakeMounter
	provisioner *fakeProvisioner
	log         *logBuffer
	dir         string // short, for sockets and targets
	endpoint    string
	conn        *grpc.ClientConn
	node        csi.NodeClient
	controller  csi.ControllerClient
	identity    csi.IdentityClient
	stop        func() error // returns what Run returned
}

// shortDir is t.TempDir with a name that leaves room for a socket's.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "csi") //nolint:usetesting // its name would be too long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs a driver with both services until the test ends.
func start(tb testing.TB, change ...func(*driver.Config)) *rig {
	tb.Helper()
	r := &rig{mounter: &fakeMounter{}, provisioner: &fakeProvisioner{}, log: &logBuffer{}, dir: shortDir(tb)}
	r.endpoint = "unix://" + filepath.Join(r.dir, "csi.sock")
	cfg := driver.Config{
		Version: "1.2.3", Endpoint: r.endpoint, NodeID: "node-1",
		Mounter: r.mounter, Provisioner: r.provisioner, Credentials: fakeCredentials{},
		Logger: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	r.endpoint = cfg.Endpoint
	d, err := driver.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := r.stop(); err != nil {
			tb.Errorf("Run: %v", err)
		}
	})

	r.conn, err = grpc.NewClient(r.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.conn.Close() })
	r.node, r.controller, r.identity = csi.NewNodeClient(r.conn), csi.NewControllerClient(r.conn), csi.NewIdentityClient(r.conn)
	probe, cancelProbe := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancelProbe()
	if _, err := r.identity.Probe(probe, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) target(name string) string { return filepath.Join(r.dir, name) }

// publishRequest is a valid request, to be changed by the tests.
func (r *rig) publishRequest() *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: "vol-1", TargetPath: r.target("t1"),
		VolumeCapability: mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
		VolumeContext:    map[string]string{"authURL": authURL, "path": "/data"},
		Secrets:          map[string]string{secretKey: secretValue},
	}
}

func createRequest() *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name:               "pvc-1",
		CapacityRange:      &csi.CapacityRange{RequiredBytes: 1 << 30},
		VolumeCapabilities: []*csi.VolumeCapability{mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)},
		Parameters: map[string]string{"authURL": authURL, "path": "/base", "onDelete": "delete", "uid": "1000",
			"csi.storage.k8s.io/pvc/name": "claim"},
		Secrets: map[string]string{secretKey: secretValue},
	}
}

func mountCapability(mode csi.VolumeCapability_AccessMode_Mode, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: flags}},
	}
}

// wantStatus checks code and message, which must contain all of words.
func wantStatus(tb testing.TB, err error, code codes.Code, words ...string) {
	tb.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		tb.Errorf("got %v (%q), want %v", st.Code(), st.Message(), code)
	}
	for _, w := range words {
		if !strings.Contains(st.Message(), w) {
			tb.Errorf("message %q does not contain %q", st.Message(), w)
		}
	}
	if len(st.Details()) != 0 {
		tb.Errorf("details %v, CSI wants none", st.Details())
	}
}

// waitFor polls until ok is true.
func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline, tick := time.NewTimer(10*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			tb.Fatalf("timed out waiting for %s", what)
		case <-tick.C:
		}
	}
}
