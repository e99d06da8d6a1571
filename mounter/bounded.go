package mounter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
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

// control is the way to fail every request of one superblock, should that outlive
// its worker. It is an open file, and not a number: another mount, of whomever, may
// get the number at any time after ours has gone, and the file is of no use then.
type control struct{ *wire.FD }

// openControl opens the control of the superblock dev; it has none if fusectl is
// not mounted.
func openControl(dev string) control {
	_, minor, _ := strings.Cut(dev, ":")
	if minor == "" {
		return control{}
	}
	path := filepath.Join("/sys/fs/fuse/connections", minor, "abort")
	n, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return control{}
	}
	return control{wire.NewFD(n)}
}

// abort fails them. It may be called on one that there is not, or that is closed.
func (c control) abort() {
	if c.FD != nil {
		_, _ = unix.Write(c.Int(), []byte("1"))
	}
}
