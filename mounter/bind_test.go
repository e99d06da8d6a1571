package mounter

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// Both ways to bind make the same mount.
func TestBind(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	for name, f := range map[string]func(string, string, bool) error{"new": bind, "old": bindOld} {
		for _, readOnly := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				source, target := filepath.Join(dir, "s"), filepath.Join(dir, "t")
				for _, d := range []string{source, target} {
					if err := os.Mkdir(d, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := f(source, target, readOnly); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := unix.Unmount(target, 0); err != nil {
						t.Error(err)
					}
				}()
				err := os.WriteFile(filepath.Join(target, "x"), nil, 0o600)
				if readOnly && !errors.Is(err, syscall.EROFS) || !readOnly && err != nil {
					t.Errorf("write to a bind with readOnly %v: %v", readOnly, err)
				}
				if err := os.WriteFile(filepath.Join(source, "y"), nil, 0o600); err != nil {
					t.Errorf("write to the source: %v", err)
				}
				if _, err := os.Lstat(filepath.Join(target, "y")); err != nil {
					t.Errorf("the target shows something else: %v", err)
				}
				mounts, err := readTable()
				if err != nil {
					t.Fatal(err)
				}
				if n := len(mounts.at(target)); n != 1 {
					t.Errorf("%d mounts on the target", n)
				}
				if left := mounts.at(source + ".ro"); len(left) > 0 {
					t.Error("the stage is still mounted")
				}
			})
		}
	}
}

func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	// The target itself is never followed: it may be a dead mount.
	if err := os.Symlink("real", filepath.Join(dir, "real", "target")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, want string }{
		{dir + "/real/x", dir + "/real/x"},
		{dir + "/link/x", dir + "/real/x"},
		{dir + "/link/./y/../x/", dir + "/real/x"},
		{dir + "/link/not/there/x", dir + "/real/not/there/x"},
		{dir + "/link/target", dir + "/real/target"},
		{"relative", ""}, {"", ""}, {"/", ""}, {"/..", ""},
	}
	for _, tt := range tests {
		got, err := resolve(tt.in)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("resolve(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestRemoveTargetKeepsContents(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeTarget(dir); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
	if err := removeTarget(filepath.Join(dir, "none")); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

// The helper's way to a device, which root may go too.
func TestFusermount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs /dev/fuse")
	}
	if _, err := fusermount(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	spec := volume.Spec{AuthURL: "https://user:pw@example.org:9000/rest/auth/T?token=s3cret", Path: `/a,b \c`}
	device, err := fusermountDevice(t.Context(), dir, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = device.Close() }()
	if init, err := readInit(device); err != nil || len(init) < 40 {
		t.Errorf("INIT of %d bytes, %v", len(init), err)
	}
	mounts, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	top := mounts.top(dir)
	if top == nil || top.FSType != fsType || top.Source != `example.org:9000:/a,b \c` {
		t.Errorf("mounted %+v", top)
	}
	if err := fusermountUnmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
}
