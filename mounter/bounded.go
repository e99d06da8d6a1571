package mounter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bounded runs something that may block on a mount, and waits for it until ctx
// ends. What is left behind then ends with the mount's connection.
func bounded(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// probe makes one round trip through a mount.
func probe(ctx context.Context, path string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return bounded(ctx, func() error {
		var st unix.Statfs_t
		for {
			if err := unix.Statfs(path, &st); err != unix.EINTR {
				return err
			}
		}
	})
}

// dead reports whether a probe's error says that nobody serves the mount, nor
// ever will.
func dead(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// unmount removes the uppermost mount on path, lazily if it is in use.
func unmount(ctx context.Context, path string) error {
	err := bounded(ctx, func() error {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		if err == unix.EBUSY {
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		return err
	})
	if err != nil {
		return &os.PathError{Op: "unmount", Path: path, Err: err}
	}
	return nil
}

// abort fails every request of a superblock that outlived its worker, if there
// is one and fusectl is mounted.
func abort(dev string) {
	_, minor, _ := strings.Cut(dev, ":")
	if minor == "" {
		return
	}
	_ = os.WriteFile(filepath.Join("/sys/fs/fuse/connections", minor, "abort"), []byte("1"), 0)
}
