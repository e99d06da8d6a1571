package uftp

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck asks the kernel not to delay the next acknowledgement on conn. The
// kernel forgets it soon: call it before every wait.
func quickAck(conn net.Conn) {
	_ = withFD(conn, func(fd int) {
		// Best effort: without it the connection is slow, not wrong.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}

// wakeAt has a read of conn that has to wait do so until n bytes are there, or the
// end of them. A read that finds some does not wait.
func wakeAt(conn net.Conn, n int) {
	_ = withFD(conn, func(fd int) {
		// Best effort: without it the reader wakes more often.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
	})
}

// quiet reports that conn is open and that nothing was received that nobody
// has read: no end of file, no error, no stray byte. It does not block.
func quiet(conn net.Conn) bool {
	ok := true // for what is no socket, nobody can tell
	err := withFD(conn, func(fd int) {
		var b [1]byte
		_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ok = errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
	})
	return ok && err == nil
}

// segmentSize returns how many bytes a segment on conn holds, 0 if that is not
// known. The far end's are taken to be like ours.
func segmentSize(conn net.Conn) int {
	n := 0
	_ = withFD(conn, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Snd_mss)
		}
	})
	return n
}

// withFD calls f with conn's descriptor, if it has one. It fails when conn is
// closed.
func withFD(conn net.Conn, f func(fd int)) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}
