package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is Linux' limit for the address of a unix socket, less the
// terminating NUL.
const maxSocketPath = 107

// socketSuffix is for the moment between making a socket and its being ready.
const socketSuffix = ".new"

func socketPath(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok {
		path, ok = strings.CutPrefix(endpoint, "unix:")
	}
	switch {
	case !ok || !filepath.IsAbs(path):
		return "", fmt.Errorf("endpoint %q: want unix:///absolute/path", endpoint)
	case len(path)+len(socketSuffix) > maxSocketPath:
		return "", fmt.Errorf("endpoint %q: the path has %d bytes, at most %d are possible", endpoint, len(path), maxSocketPath-len(socketSuffix))
	}
	return filepath.Clean(path), nil
}

// listen makes a unix socket with permissions mode at the endpoint, in place of
// one that an earlier process left there. Whoever sees the socket can connect
// and no one saw it with other permissions: it gets its name when it is ready.
func listen(endpoint string, mode fs.FileMode) (net.Listener, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return nil, err
	}
	for _, p := range []string{path, path + socketSuffix} {
		// Never remove what is not a socket: the endpoint may be a typing error.
		if info, err := os.Lstat(p); err == nil && info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("endpoint %s: there is something else than a socket at %s", endpoint, p)
		}
	}
	if err := os.Remove(path + socketSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + socketSuffix, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	l.SetUnlinkOnClose(false) // it would unlink by a name that is no longer ours
	info, err := os.Lstat(path + socketSuffix)
	if err == nil {
		err = os.Chmod(path+socketSuffix, mode)
	}
	if err == nil {
		err = os.Rename(path+socketSuffix, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint %s: %w", endpoint, err), l.Close(), os.Remove(path+socketSuffix))
	}
	return &socket{UnixListener: l, path: path, info: info}, nil
}

// socket removes its file when it is closed, unless a successor has put its own
// there.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

// Close implements [net.Listener].
func (s *socket) Close() error {
	if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.info) {
		_ = os.Remove(s.path) // it is stale either way; the next process replaces it
	}
	return s.UnixListener.Close()
}
