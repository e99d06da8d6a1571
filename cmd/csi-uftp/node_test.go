package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// TestNodeWithoutKeeper starts the node service before its keeper, as may happen
// when a machine boots. It must answer, and say what is missing.
func TestNodeWithoutKeeper(t *testing.T) {
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "csi.sock")
	// A process of its own: gRPC's logger, which a command sets, is the process'.
	node := exec.CommandContext(t.Context(), "csi-uftp", "node", "--endpoint", endpoint, "--node-id", "test", "--kubelet-dir", dir,
		"--keeper-socket", filepath.Join(dir, "*", "keeper.sock"), "--keeper-namespace", "csi-uftp")
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = node.Process.Signal(syscall.SIGTERM)
		if err := node.Wait(); err != nil {
			t.Errorf("the node service ended: %v", err)
		}
	}()

	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	callCtx, cancelCall := context.WithTimeout(t.Context(), 30*time.Second)
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
	if st.Code() != codes.Unavailable || !strings.HasPrefix(st.Message(), "KeeperUnreachable: ") ||
		!strings.HasSuffix(st.Message(), "; check that a pod of csi-uftp-mount runs on this node") {
		t.Errorf("NodePublishVolume: %v", err)
	}
}

// What the kubelet is to try again is told from what is wrong with a volume.
func TestLocalErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
	}{
		{fmt.Errorf("publish: %w", errNoKeeper), codes.Unavailable},
		{fmt.Errorf("publish: %w", keeper.ErrStopping), codes.Unavailable},
		{errors.New("publish: something else"), codes.Unknown},
	} {
		if got := status.Code(localError(c.err)); got != c.code {
			t.Errorf("%v: %v, want %v", c.err, got, c.code)
		}
	}
	if err := localError(nil); err != nil {
		t.Error(err)
	}
}
