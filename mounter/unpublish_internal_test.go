package mounter

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// The number of a mount that nobody knew, and that has gone with its last target, may be
// that of a mount which is just being made. That one stays.
func TestClearSourceOfANumberUsedAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	m, err := New(Config{
		PluginDir: t.TempDir(),
		Connect:   func(context.Context) (*keeper.Client, error) { return nil, unix.ECONNREFUSED },
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	for name, known := range map[string]bool{"made": true, "left": false} {
		t.Run(name, func(t *testing.T) {
			mt := newMount(t, m)
			_ = mt.device.Close()
			mt.dir = m.sourceDir(name)
			if mt.device, err = m.mountNew(t.Context(), mt); err != nil {
				t.Skipf("no FUSE here: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(mt.dir, unix.MNT_DETACH) })
			if !known {
				m.mu.Lock()
				delete(m.mounts, mt.name)
				m.mu.Unlock()
			}
			m.clearSource(t.Context(), deviceNumber(topOf(t, mt.dir)))
			if there := topOf(t, mt.dir) != nil; there != known {
				t.Errorf("it is mounted: %v, want %v", there, known)
			}
		})
	}
}

// topOf returns what is mounted on dir, or nil.
func topOf(t *testing.T, dir string) *mountinfo.Info {
	t.Helper()
	now, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	return now.top(dir)
}
