package mounter_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter"
)

// While a mount that is gone has its worker upload, somebody else's mount gets its
// number. It is not what is aborted at the end.
func TestNumberUsedAgain(t *testing.T) {
	if !withFusectl(t) {
		return
	}
	e := newEnv(t)
	if err := os.WriteFile(filepath.Join(e.served, faultFile), []byte("hang drain"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := e.publication("v1", "a")
	e.publish(p)
	ours := minorOf(t, p.Target)
	unpublished := make(chan error, 1)
	go func() { unpublished <- e.manager.Unpublish(t.Context(), p.VolumeID, p.Target) }()
	eventually(t, "the mount goes", func() bool { return len(e.mounts()) == 0 })

	var others []string
	for len(others) < 20 && !slices.ContainsFunc(others, func(dir string) bool { return minorOf(t, dir) == ours }) {
		others = append(others, mountAnother(t))
	}
	if !slices.ContainsFunc(others, func(dir string) bool { return minorOf(t, dir) == ours }) {
		t.Skipf("nobody gets the number %d again", ours)
	}
	if err := <-unpublished; err != nil {
		t.Error(err)
	}
	for _, dir := range others {
		if _, err := os.ReadDir(dir); err != nil {
			t.Errorf("another one's mount: %v", err)
		}
	}
}

// What hangs on a mount, in spite of all, is failed.
func TestAbort(t *testing.T) {
	if !withFusectl(t) {
		return
	}
	dir := mountAnother(t)
	kept, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	abort := mounter.OpenControl(fmt.Sprintf("0:%d", minorOf(t, dir)))
	if _, err := os.ReadDir(dir); err != nil {
		t.Errorf("before: %v", err)
	}
	abort()
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("after: %v", err)
	}
}

// withFusectl reports whether this process has fusectl mounted. If not it runs the test
// in another one that has: not every machine has it, and none keeps it from here.
func withFusectl(t *testing.T) bool {
	t.Helper()
	needFUSE(t)
	const inside = "MOUNTER_TEST_FUSECTL"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		return false
	}
	if err := unix.Mount("none", "/sys/fs/fuse/connections", "fusectl", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		t.Skipf("no fusectl: %v", err)
	}
	return true
}

// mountAnother makes a FUSE mount that is none of ours.
func mountAnother(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := gofs.NewLoopbackRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := gofs.Mount(dir, root, &gofs.Options{MountOptions: fuse.MountOptions{DirectMount: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount another one's mount: %v", err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}

// minorOf returns the number of what is mounted at path.
func minorOf(t *testing.T, path string) int {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil || len(infos) != 1 {
		t.Fatalf("%s: %d mounts, %v", path, len(infos), err)
	}
	return infos[0].Minor
}
