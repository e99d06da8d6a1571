package mounter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// halfway answers a node like the keeper behind it, until the node takes over a
// mount that it has not.
func halfway(behind *keeper.Client) wire.Handler {
	return func(ctx context.Context, q *wire.Request) (any, []*wire.FD, error) {
		switch q.Method {
		case wire.KeeperHello:
			return wire.HelloResult{Key: behind.Key()}, nil, nil
		case wire.KeeperList:
			names, err := behind.List(ctx)
			return wire.ListResult{Names: append(names, "none")}, nil, err
		case wire.KeeperGet:
			var p wire.MountParams
			if err := q.Decode(&p); err != nil {
				return nil, nil, err
			}
			kept, err := behind.Get(ctx, p.Name)
			if err != nil {
				return nil, nil, errors.New("no descriptors left")
			}
			r := wire.GetResult{Spec: kept.Spec, Note: kept.Note, Init: kept.Init, Reply: kept.Reply}
			return r, []*wire.FD{kept.Device}, nil
		}
		return nil, nil, errors.ErrUnsupported
	}
}

// A node that has not found its keeper yet does not say of a target that shows a mount
// that it does not: the kubelet would unmount it under the pod, after an error of a
// republish.
func TestStatsBeforeTheKeeperIsFound(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	if err := e.manager.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := mounter.New(mounter.Config{
		PluginDir: e.plugin, Logger: e.logger(),
		Connect: func(context.Context) (*keeper.Client, error) { return nil, errors.New("not there") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := m.Stats(t.Context(), p.VolumeID, p.Target); err != nil || stats.Abnormal == "" {
		t.Errorf("stats of the mount: %+v, %v; want it to be abnormal", stats, err)
	}
	if _, err := m.Stats(t.Context(), p.VolumeID, p.Target+"2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stats of a target without a mount: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	e.manager = e.newManager()
	if err := e.manager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target); err != nil || stats.Abnormal != "" {
		t.Errorf("after the keeper was found: %+v, %v", stats, err)
	}
	e.unpublish(p)
}

// A node finds a keeper that it can take one mount over from and not the next. The
// first one does not hang when its worker dies, is made afresh by the next publish
// and is not what others get to share.
func TestRecoverFailsHalfWay(t *testing.T) {
	e := newEnv(t)
	p, q := e.publication("v1", "a"), e.publication("v1", "b")
	e.publish(p)
	worker := e.lastWorker()
	if err := e.manager.Close(); err != nil {
		t.Fatal(err)
	}
	behind, err := keeper.Dial(t.Context(), e.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = behind.Close() })
	bad := e.connectTo(halfway(behind))
	var well atomic.Bool // the next connection is to the keeper itself
	tried := make(chan struct{}, 1)
	e.manager, err = mounter.New(mounter.Config{
		PluginDir: e.plugin, Logger: e.logger().With("process", "node"), DrainTimeout: 2 * time.Second,
		Connect: func(ctx context.Context) (*keeper.Client, error) {
			if well.Load() {
				return keeper.Dial(ctx, e.socket)
			}
			select {
			case tried <- struct{}{}:
			default:
			}
			return bad(ctx)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.manager.Recover(t.Context()); err == nil {
		t.Fatal("recovered")
	}
	<-tried
	select {
	case <-tried: // by itself
	case <-time.After(10 * time.Second):
		t.Error("nobody tries again")
	}
	if _, err := os.ReadDir(p.Target); err != nil {
		t.Errorf("the mount that serves: %v", err)
	}

	hanging := make(chan error, 1)
	go func() {
		_, err := os.Lstat(filepath.Join(p.Target, "hang"))
		hanging <- err
	}()
	if err := unix.Kill(worker, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-hanging:
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("the call that waited: %v", err)
		}
	case <-time.After(10 * time.Second):
		_ = e.manager.Close() // which ends it
		t.Fatalf("a call hangs after the worker was killed, until the node ends: %v", <-hanging)
	}
	well.Store(true)
	e.publish(q)
	e.publish(p)
	for _, target := range []string{p.Target, q.Target} {
		if _, err := os.ReadDir(target); err != nil {
			t.Error(err)
		}
	}
	e.unpublish(p)
	e.unpublish(q)
	e.wantNothing()
}
