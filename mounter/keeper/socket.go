package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// Listen makes the socket of a keeper, for its user alone (mode 0600), in the
// place of one that an earlier keeper left. A path may be longer than the 108
// bytes that a socket address holds.
func Listen(path string) (*net.UnixListener, error) {
	short, done, err := shortPath(path)
	if err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: short, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // the short name means nothing any more then
	// Between bind and chmod only users that admit lets in get anything.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	return l, nil
}

// dial connects to a keeper's socket.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	short, done, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", short)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// shortPath returns a name for path that fits a socket address, valid until
// done is called.
func shortPath(path string) (short string, done func(), err error) {
	n, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	dir := wire.NewFD(n)
	return fmt.Sprintf("/proc/self/fd/%d/%s", n, filepath.Base(path)), func() { _ = dir.Close() }, nil
}

// peerUID returns the user at the other end.
func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, fmt.Errorf("peer credentials: %w", credErr)
	}
	return cred.Uid, nil
}
