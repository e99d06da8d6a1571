package mounter

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// bind shows the root of the mount at source at target. The new mount is
// read-only from its first moment: a later remount would change it here, and
// leave the copies that propagate to other namespaces writable.
func bind(source, target string, readOnly bool) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOSYS) {
		return bindOld(source, target, readOnly)
	}
	if err != nil {
		return &os.PathError{Op: "open_tree", Path: source, Err: err}
	}
	f := wire.NewFD(tree)
	defer func() { _ = f.Close() }()
	if readOnly {
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr)
		if errors.Is(err, unix.ENOSYS) {
			return bindOld(source, target, readOnly)
		}
		if err != nil {
			return &os.PathError{Op: "mount_setattr", Path: target, Err: err}
		}
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: target, Err: err}
	}
	return nil
}

// bindOld is bind for kernels before 5.12. A bind of a read-only bind is
// read-only from the start, so the remount happens where nobody looks.
func bindOld(source, target string, readOnly bool) error {
	if readOnly {
		stage := source + ".ro"
		if err := os.Mkdir(stage, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		defer func() { _ = os.Remove(stage) }()
		if err := unix.Mount(source, stage, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind", Path: stage, Err: err}
		}
		defer func() { _ = unix.Unmount(stage, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }()
		const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
		if err := unix.Mount("", stage, "", flags, ""); err != nil {
			return &os.PathError{Op: "remount", Path: stage, Err: err}
		}
		source = stage
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "bind", Path: target, Err: err}
	}
	return nil
}
