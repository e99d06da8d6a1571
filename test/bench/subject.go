package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// subject is something that shows the server's files in a directory.
type subject interface {
	name() string
	// writes reports whether it can.
	writes() bool
	// missing says why it cannot be measured here, or "".
	missing() string
	// mount makes the files appear in dir, with nothing cached.
	mount(ctx context.Context, r *rig, dir string) (*mounted, error)
}

// mounted is a subject at work.
type mounted struct {
	dir      string
	main     *process
	pid      int // of the process that does the work, 0 if there is none
	took     time.Duration
	own      int64 // bytes of memory that it had for itself when it was mounted
	end      syscall.Signal
	counters func(context.Context) (map[string]int64, error) // nil if it has none

	// A copier's instead of all that: the command, and its credentials.
	copy func(from, to string) []string
	env  []string
}

// unmount ends the mount and its processes, whatever state they are in.
func (m *mounted) unmount() {
	if m == nil || m.main == nil {
		return
	}
	if m.end == 0 { // it ends when the mount does
		_ = unix.Unmount(m.dir, unix.UMOUNT_NOFOLLOW)
		m.end = syscall.SIGTERM
	}
	m.main.stop(m.end)
	detach(m.dir)
}

// detach removes the mounts at and below dir that are left.
func detach(dir string) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return
	}
	for _, m := range slices.Backward(mounts) {
		_ = unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
}

// isMount reports whether something is mounted at dir, without touching it.
func isMount(dir string) func() bool {
	return func() bool {
		mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
		return err == nil && len(mounts) > 0
	}
}

// local is the server's own directory: no network, no FUSE, all in the page cache.
type local struct{}

func (local) name() string    { return "local" }
func (local) writes() bool    { return true }
func (local) missing() string { return "" }

func (local) mount(_ context.Context, r *rig, _ string) (*mounted, error) {
	return &mounted{dir: r.path(dataDir)}, nil
}

// memory is go-fuse with all files in memory.
type memory struct{}

func (memory) name() string    { return "go-fuse" }
func (memory) writes() bool    { return false }
func (memory) missing() string { return "" }

func (memory) mount(ctx context.Context, r *rig, dir string) (*mounted, error) {
	p, err := start(r.root, "memfs", nil, filepath.Join(r.bin, "memfs"), r.path(dataDir), dir)
	if err != nil {
		return nil, err
	}
	m := &mounted{dir: dir, main: p, pid: p.cmd.Process.Pid, end: syscall.SIGTERM}
	if err := p.await(ctx, says(p.out, "mounted")); err != nil {
		m.unmount()
		return nil, err
	}
	return m, nil
}

// childOf is the one child of a process.
func childOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	var child int
	if n, _ := fmt.Sscan(strings.TrimSpace(string(text)), &child); n != 1 {
		return 0, errors.New("no child process")
	}
	return child, nil
}
