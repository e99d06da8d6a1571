package mounter_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// direct is a manager as the mount command has it: its keeper in the same process.
func (e *env) direct() *mounter.Manager {
	e.t.Helper()
	m, err := mounter.New(mounter.Config{
		Connect:      func(ctx context.Context) (*keeper.Client, error) { return keeper.NewLocal(ctx, e.keeper) },
		Logger:       e.logger().With("process", "mount"),
		Direct:       true,
		DrainTimeout: 2 * time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

// TestMountedAgain unmounts a directory by hand and mounts another one there at
// once: the first mount's process leaves that alone.
func TestMountedAgain(t *testing.T) {
	first, second := newEnv(t), newEnv(t)
	dir := filepath.Join(first.dir, "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	publish := func(e *env) (*mounter.Manager, func()) {
		t.Helper()
		m := e.direct()
		p := volume.Publication{VolumeID: "mount", Target: dir, Spec: e.spec()}
		if err := m.Publish(t.Context(), p, access("demo", goodPassword)); err != nil {
			t.Fatal(err)
		}
		return m, func() {
			if err := errors.Join(m.Unpublish(t.Context(), p.VolumeID, dir), m.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	old, endOld := publish(first)
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if err := old.Wait(t.Context(), dir); err != nil {
		t.Errorf("an unmounted mount ended with %v", err)
	}
	_, end := publish(second)
	endOld()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Errorf("the second mount: %v", err)
	}
	if _, err := os.Stat(filepath.Join(second.served, "f")); err != nil {
		t.Error(err)
	}
	end()
	if got := first.mounts(); len(got) != 0 {
		t.Errorf("%v are left", got)
	}
}

// TestDirect is what the mount command does: manager and keeper in one process,
// a directory of the person's.
func TestDirect(t *testing.T) {
	e := newEnv(t)
	dir := filepath.Join(e.dir, "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := volume.Publication{VolumeID: "mount", Target: dir, Spec: e.spec()}
	tests := []struct {
		name string
		end  func(*mounter.Manager)
		want string // of the error; "" is none
	}{
		{"unpublished", func(m *mounter.Manager) {
			if err := m.Unpublish(t.Context(), p.VolumeID, dir); err != nil {
				t.Error(err)
			}
		}, ""},
		{"unmounted by hand", func(*mounter.Manager) {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		}, ""},
		{"worker killed", func(*mounter.Manager) { _ = unix.Kill(e.lastWorker(), unix.SIGKILL) }, "killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := e.direct()
			defer func() { _ = m.Close() }()
			if err := m.Publish(t.Context(), p, access("demo", goodPassword)); err != nil {
				t.Fatal(err)
			}
			if got := e.mounts(); len(got) != 1 || got[0] != dir {
				t.Errorf("mounts %v, want only %s", got, dir)
			}
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
				t.Error(err)
			}
			waited := make(chan error, 1)
			go func() { waited <- m.Wait(t.Context(), dir) }()
			tt.end(m)
			switch err := <-waited; {
			case errors.Is(err, fs.ErrNotExist): // unpublished before we asked
			case err == nil && tt.want != "", err != nil && !strings.Contains(fmt.Sprint(err), tt.want), err != nil && tt.want == "":
				t.Errorf("ended with %v, want %q", err, tt.want)
			}
			if err := m.Unpublish(t.Context(), p.VolumeID, dir); err != nil {
				t.Error(err)
			}
			if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o755 {
				t.Errorf("the person's directory: %v, %v", st, err)
			}
		})
	}
}
