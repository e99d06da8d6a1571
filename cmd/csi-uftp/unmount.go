package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newUnmount() *cobra.Command {
	var lazy bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "unmount DIR",
		Aliases: []string{"umount"},
		Short:   "Unmount what csi-uftp mount has mounted",
		Long: `Unmounts DIR. The csi-uftp that served it then ends.

With --lazy DIR is detached at once, also when programs use it: they keep what they
have open. It also removes a mount that nobody serves any more.`,
		Example: "  csi-uftp unmount /mnt",
		Args:    exactArgs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return unmount(cmd.Context(), args[0], lazy, timeout)
		},
	}
	cmd.Flags().BoolVar(&lazy, "lazy", false, "detach also if it is in use or not served any more")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for a mount that does not answer")
	return cmd
}

func unmount(ctx context.Context, path string, lazy bool, timeout time.Duration) error {
	dir, err := mountPoint(path)
	if err != nil {
		return err
	}
	mounted, err := isMounted(dir)
	if err != nil {
		return err
	}
	if !mounted {
		return usageErrorf("%s is not mounted by csi-uftp", dir)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- unix.Unmount(dir, flags) }() // may block on a mount that nobody serves
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("unmount %s: %w; try --lazy", dir, context.Cause(ctx))
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return fusermount(ctx, dir, lazy)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("unmount %s: a program uses it; end that, or give --lazy", dir)
	case err != nil:
		return &fs.PathError{Op: "unmount", Path: dir, Err: err}
	}
	return nil
}

// fusermount unmounts for those who are not root.
func fusermount(ctx context.Context, dir string, lazy bool) error {
	args := []string{"-u", "--", dir}
	if lazy {
		args = append([]string{"-z"}, args...)
	}
	out, err := exec.CommandContext(ctx, "fusermount3", args...).CombinedOutput() //nolint:gosec // the directory comes last, after --
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: unmounting needs root, or fusermount3 (Debian package fuse3)", fs.ErrPermission)
	}
	if err != nil {
		return fmt.Errorf("fusermount3: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// maxLinks is how many symbolic links Linux follows from one name.
const maxLinks = 40

// mountPoint is the name that mountinfo has for dir. The directory itself is not
// touched, only links to it: it may be a mount that does not answer.
func mountPoint(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for range maxLinks {
		parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
		if err != nil {
			return "", usageErrorf("%v", err)
		}
		dir = filepath.Join(parent, filepath.Base(dir))
		link, err := os.Readlink(dir)
		if err != nil {
			return dir, nil //nolint:nilerr // it is no link
		}
		if dir = link; !filepath.IsAbs(link) {
			dir = filepath.Join(parent, link)
		}
	}
	return "", usageErrorf("%s: %v", dir, syscall.ELOOP)
}

// isMounted tells whether dir, a name that mountinfo has, shows a mount of ours. It
// may be a mount point without it; what was mounted last comes last.
func isMounted(dir string) (bool, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != dir, false })
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	return mounts[len(mounts)-1].FSType == "fuse.uftp", nil
}
