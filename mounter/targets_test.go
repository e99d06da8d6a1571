package mounter_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// Names that mountinfo has to escape are published, found again after a restart,
// and unpublished.
func TestTargetNames(t *testing.T) {
	e := newEnv(t)
	for _, name := range []string{
		"with blank", "  ", "tab\there", "line\nbreak", "back\\slash", `\040`, "ünï/çødé", "日本", "#hash", "comma,equals=", "-", "\xff\xfe not UTF-8",
		strings.Repeat("long", 60),
	} {
		t.Run(name, func(t *testing.T) {
			p := e.publication("v1", name)
			e.publish(p)
			e.publish(p)
			if got := e.mounts(); len(got) != 2 {
				t.Errorf("mounts %q", got)
			}
			if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("x"), 0o644); err != nil {
				t.Error(err)
			}
			e.restartNode()
			if _, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target); err != nil {
				t.Errorf("after a restart: %v", err)
			}
			e.unpublish(p)
			e.wantNothing()
		})
	}
}

// What is in the way of a target stays as it is.
func TestTargetInTheWay(t *testing.T) {
	e := newEnv(t)
	tests := []struct {
		name string
		make func(t *testing.T, target string)
		want error // nil if it can be used
		left func(target string) bool
	}{
		{"an empty directory", func(t *testing.T, target string) { mkdir(t, target) }, nil, nil},
		{"a file", func(t *testing.T, target string) {
			if err := os.WriteFile(target, []byte("x"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrInvalid, func(target string) bool {
			b, err := os.ReadFile(target)
			return err == nil && string(b) == "x"
		}},
		{"a link to a directory", func(t *testing.T, target string) {
			mkdir(t, target+"-real")
			if err := os.Symlink(target+"-real", target); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrInvalid, func(target string) bool {
			st, err := os.Stat(target + "-real")
			return err == nil && st.Mode().Perm() == 0o755
		}},
		{"a directory with something in it", func(t *testing.T, target string) {
			mkdir(t, target)
			mkdir(t, filepath.Join(target, "precious"))
		}, fs.ErrExist, func(target string) bool {
			st, err := os.Stat(target)
			_, perr := os.Stat(filepath.Join(target, "precious"))
			return err == nil && st.Mode().Perm() == 0o755 && perr == nil
		}},
		{"a mount of somebody else", func(t *testing.T, target string) {
			mkdir(t, target)
			if err := unix.Mount("tmpfs", target, "tmpfs", 0, "mode=755"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(target, 0) })
		}, fs.ErrExist, func(target string) bool {
			st, err := os.Stat(target)
			return err == nil && st.Mode().Perm() == 0o755
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := e.publication("v1", strings.ReplaceAll(tt.name, " ", "-"))
			if err := os.MkdirAll(filepath.Dir(p.Target), 0o755); err != nil {
				t.Fatal(err)
			}
			tt.make(t, p.Target)
			err := e.manager.Publish(t.Context(), p, access("demo", goodPassword))
			if !errors.Is(err, tt.want) {
				t.Fatalf("publish: %v, want %v", err, tt.want)
			}
			if tt.want == nil {
				e.unpublish(p)
				return
			}
			if !tt.left(p.Target) {
				t.Error("what was there has changed")
			}
			if len(e.sources()) > 0 {
				t.Errorf("a mount is left: %v", e.sources())
			}
		})
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Two node processes in one directory would take each other's mounts for
// left-overs.
func TestSecondManagerIsRefused(t *testing.T) {
	e := newEnv(t)
	cfg := mounter.Config{PluginDir: e.plugin, Connect: func(ctx context.Context) (*keeper.Client, error) { return keeper.NewLocal(ctx, e.keeper) }, Logger: e.logger()}
	if _, err := mounter.New(cfg); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second manager: %v, want a refusal", err)
	}
	e.restartNode() // the lock ends with its manager
	link := filepath.Join(e.dir, "link")
	if err := os.Symlink(e.plugin, link); err != nil {
		t.Fatal(err)
	}
	cfg.PluginDir = link
	if _, err := mounter.New(cfg); err == nil {
		t.Error("a second manager by another name was let in")
	}
}
