package mounter_test

import (
	"context"
	"errors"
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

// TestDirect is what the mount command does: manager and keeper in one process,
// a directory of the person's.
func TestDirect(t *testing.T) {
	e := newEnv(t)
	dir := filepath.Join(e.dir, "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start := func() *mounter.Manager {
		m, err := mounter.New(mounter.Config{
			Connect:      func(ctx context.Context) (*keeper.Client, error) { return keeper.NewLocal(ctx, e.keeper) },
			Logger:       e.logger().With("process", "mount"),
			Direct:       true,
			DrainTimeout: 2 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	p := volume.Publication{VolumeID: "mount", Target: dir, Spec: e.spec()}
	tests := []struct {
		name string
		end  func(*mounter.Manager)
		want string
	}{
		{"unpublished", func(m *mounter.Manager) {
			if err := m.Unpublish(t.Context(), p.VolumeID, dir); err != nil {
				t.Error(err)
			}
		}, "unpublished"},
		{"unmounted by hand", func(*mounter.Manager) {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		}, "exit status 0"},
		{"worker killed", func(*mounter.Manager) { _ = unix.Kill(e.lastWorker(), unix.SIGKILL) }, "killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := start()
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
			waited := make(chan string, 1)
			go func() {
				reason, err := m.Wait(t.Context(), dir)
				if errors.Is(err, fs.ErrNotExist) {
					reason = "unpublished" // before we asked
				} else if err != nil {
					t.Error(err)
				}
				waited <- reason
			}()
			tt.end(m)
			if reason := <-waited; !strings.Contains(reason, tt.want) {
				t.Errorf("ended because %q, want %q", reason, tt.want)
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
