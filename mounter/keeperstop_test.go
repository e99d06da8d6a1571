package mounter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// A keeper that is told to stop waits for a worker that has much to upload. Whoever
// uses a mount whose worker has nothing to upload does not.
func TestKeeperStopsWhileAWorkerUploads(t *testing.T) {
	e := newEnv(t)
	p, q := e.publication("v1", "quick"), e.publication("v2", "slow")
	q.Spec.Path = filepath.Join(e.dir, "served2")
	mkdir(t, q.Spec.Path)
	if err := os.WriteFile(filepath.Join(q.Spec.Path, faultFile), []byte("hang drain"), 0o644); err != nil {
		t.Fatal(err)
	}
	e.publish(p)
	e.publish(q)

	e.stop()
	ctx, kill := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- e.keeper.Close(ctx) }()
	used := make(chan error, 1)
	go func() {
		for {
			if _, err := os.ReadDir(p.Target); err != nil {
				used <- err
				return
			}
		}
	}()
	select {
	case err := <-used:
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("who uses the mount gets %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("who uses the mount hangs while another one's worker uploads")
	}
	err := e.manager.Publish(t.Context(), e.publication("v3", "new"), access("demo", goodPassword))
	if !errors.Is(err, keeper.ErrStopping) {
		t.Errorf("a new volume: %v, want ErrStopping", err)
	}
	select {
	case err := <-closed:
		t.Errorf("the keeper did not wait for the worker that uploads: %v", err)
	default:
	}
	kill()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	e.unpublish(p)
	e.unpublish(q)
	e.wantNothing()
}
