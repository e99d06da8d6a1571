package keeper

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// What a worker may not do to files, by the version of Landlock's interface
// that knows of it. It may read and execute: certificates, resolv.conf, itself.
const (
	changes = unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	changes2 = unix.LANDLOCK_ACCESS_FS_REFER
	changes3 = unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// scopes6 keep signals and abstract sockets inside.
	scopes6 = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
)

// newRuleset prepares the walls around a worker. The workers of a keeper that
// is not root have its user, so without them one that a server has taken over
// could trace its siblings, stop the keeper, or put a socket of its own in the
// place of the keeper's. Below writable it may change what its user may. It is
// nil where the kernel has no Landlock.
func newRuleset(writable []string) (*wire.FD, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM: // not built in, not enabled, a seccomp filter
		return nil, nil
	default:
		return nil, fmt.Errorf("landlock: %w", errno)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: changes}
	if version >= 2 {
		attr.Handled_access_fs |= changes2
	}
	if version >= 3 {
		attr.Handled_access_fs |= changes3
	}
	if version >= 6 {
		attr.Scoped = scopes6
	}
	// What an older kernel does not know of the struct is zero, which it accepts.
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0) //nolint:gosec // a system call
	if errno != 0 {
		return nil, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	rules := wire.NewFD(int(n))
	for _, path := range writable {
		if err := allow(rules, path, attr.Handled_access_fs); err != nil {
			_ = rules.Close()
			return nil, fmt.Errorf("landlock %s: %w", path, err)
		}
	}
	return rules, nil
}

func allow(rules *wire.FD, path string, access uint64) error {
	n, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := wire.NewFD(n)
	defer func() { _ = dir.Close() }()
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(n)} //nolint:gosec // descriptors are small
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules.Int()), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0) //nolint:gosec // a system call
	if errno != 0 {
		return errno
	}
	return nil
}

// restrict puts the calling thread, and every process it starts, behind rules.
func restrict(rules *wire.FD) error {
	if rules == nil {
		return nil
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules.Int()), 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}
