package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// TestNodeWithoutKeeper starts the node service before its keeper, as may happen
// when a machine boots. It must answer, and say what is missing.
func TestNodeWithoutKeeper(t *testing.T) {
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "csi.sock")
	ctx, cancel := context.WithCancel(t.Context())
	logs, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = logs.Close() }()
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"node", "--endpoint", endpoint, "--node-id", "test", "--kubelet-dir", dir,
			"--keeper-socket", filepath.Join(dir, "*", "keeper.sock"), "--keeper-namespace", "csi-uftp"}, strings.NewReader(""), io.Discard, logs)
	}()
	defer func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}()

	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	callCtx, cancelCall := context.WithTimeout(ctx, 30*time.Second)
	defer cancelCall()
	ready := grpc.WaitForReady(true)
	info, err := csi.NewNodeClient(conn).NodeGetInfo(callCtx, &csi.NodeGetInfoRequest{}, ready)
	if err != nil || info.GetNodeId() != "test" {
		t.Fatalf("NodeGetInfo: %v, %v", info, err)
	}
	if probe, err := csi.NewIdentityClient(conn).Probe(callCtx, &csi.ProbeRequest{}, ready); err != nil {
		t.Errorf("Probe: %v, %v", probe, err)
	}
	_, err = csi.NewNodeClient(conn).NodePublishVolume(callCtx, &csi.NodePublishVolumeRequest{
		VolumeId: "v", TargetPath: filepath.Join(dir, "target"),
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		},
		VolumeContext: map[string]string{"authURL": "https://127.0.0.1:1/rest/auth/TEST"},
		Secrets:       map[string]string{"username": "demo", "password": "hush"},
	}, ready)
	st, _ := status.FromError(err)
	if st.Code() != codes.Unavailable || !strings.Contains(st.Message(), "KeeperUnreachable: ") ||
		!strings.HasSuffix(st.Message(), "; check that a pod of csi-uftp-mount runs on this node") {
		t.Errorf("NodePublishVolume: %v", err)
	}
}
