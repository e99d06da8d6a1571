package mounter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

const (
	maxRead     = 1 << 20 // bytes in a READ; what workers negotiate for WRITE
	initTimeout = 5 * time.Second
	opInit      = 26 // FUSE_INIT
)

// openDevice opens /dev/fuse. Each open is a connection to be.
func openDevice() (*wire.FD, error) {
	n, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	return wire.NewFD(n), nil
}

// mountDevice mounts the connection of device on dir. The kernel then sends
// INIT, and every access to the mount waits until that is answered.
func mountDevice(device *wire.FD, dir string, spec volume.Spec) error {
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,allow_other,max_read=%d",
		device.Int(), os.Geteuid(), os.Getegid(), maxRead)
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if spec.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(sourceName(spec), dir, fsType, flags, options); err != nil {
		return &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return nil
}

// sourceName is what df and mountinfo show: where the volume is, and nothing of
// its URL that could be a secret.
func sourceName(spec volume.Spec) string {
	host := spec.Server
	if host == "" {
		host = "uftp"
		if u, err := url.Parse(spec.AuthURL); err == nil && u.Host != "" {
			host = u.Host
		}
	}
	return host + ":" + spec.Path
}

// readInit reads the first request of a connection, which is INIT and comes
// once in its life.
func readInit(device *wire.FD) ([]byte, error) {
	deadline := time.Now().Add(initTimeout)
	buf := make([]byte, 2*maxRead)
	for {
		wait := time.Until(deadline).Milliseconds()
		if wait <= 0 {
			return nil, fmt.Errorf("the kernel sent no INIT: %w", os.ErrDeadlineExceeded)
		}
		fds := []unix.PollFd{{Fd: int32(device.Int()), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		if _, err := unix.Poll(fds, int(wait)); err != nil {
			if err == unix.EINTR {
				continue
			}
			return nil, fmt.Errorf("poll /dev/fuse: %w", err)
		}
		if time.Now().After(deadline) {
			continue
		}
		n, err := unix.Read(device.Int(), buf)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN, err == unix.ENOENT:
			continue
		case err != nil:
			return nil, fmt.Errorf("read INIT: %w", err)
		case n < 40 || binary.NativeEndian.Uint32(buf[4:]) != opInit:
			return nil, fmt.Errorf("the kernel's first request of %d bytes is not INIT", n)
		}
		return append([]byte(nil), buf[:n]...), nil
	}
}

// writeInitReply completes the connection. Doing it again is harmless. The reply
// and, after a restart, the device come from the keeper, which has less rights
// than we: nothing is written but an answer to INIT, to nothing but FUSE.
func writeInitReply(device *wire.FD, init, reply []byte) error {
	switch {
	case len(init) < 40 || binary.NativeEndian.Uint32(init[4:]) != opInit:
		return fmt.Errorf("%d bytes are no INIT request", len(init))
	case len(reply) < 16 || len(reply) > 4096 || int(binary.NativeEndian.Uint32(reply)) != len(reply),
		binary.NativeEndian.Uint32(reply[4:]) != 0, // an error
		binary.NativeEndian.Uint64(reply[8:]) != binary.NativeEndian.Uint64(init[8:]):
		return fmt.Errorf("%d bytes are no answer to INIT", len(reply))
	}
	if err := checkDevice(device); err != nil {
		return err
	}
	_, err := unix.Write(device.Int(), reply)
	if err != nil && err != unix.ENOENT { // ENOENT: it has been answered
		return fmt.Errorf("answer INIT: %w", err)
	}
	return nil
}

// checkDevice makes sure that a descriptor is /dev/fuse, wherever that lies.
func checkDevice(device *wire.FD) error {
	var st unix.Stat_t
	if err := unix.Fstat(device.Int(), &st); err != nil {
		return fmt.Errorf("stat the device: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(10, 229) {
		return errors.New("the descriptor is not /dev/fuse")
	}
	return nil
}

// setReadAhead raises the read-ahead of a superblock above the kernel's
// 128 KiB, which costs a third of the throughput.
func setReadAhead(dev string, bytes int) error {
	path := filepath.Join("/sys/class/bdi", dev, "read_ahead_kb")
	return os.WriteFile(path, []byte(strconv.Itoa(bytes>>10)), 0)
}
