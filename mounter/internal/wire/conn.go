package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Version is the version of every message. There is one so far; a peer that
	// sends another is refused.
	Version = 1
	// MaxMessage bounds one datagram, in bytes. It stays below the kernel's
	// default socket buffer (net.core.wmem_default), which a datagram must fit.
	MaxMessage = 128 << 10
	// MaxFiles bounds the descriptors beside one message.
	MaxFiles = 1
	// sendTimeout bounds the wait for a peer that does not read.
	sendTimeout = 10 * time.Second
)

// ErrMessage is the cause of errors about a message that breaks the rules: too
// long, not JSON, of another version.
var ErrMessage = errors.New("bad message")

// message is the envelope of everything sent.
//
//	request  {v, id, method, params}
//	reply    {v, id, result} or {v, id, error}
//	cancel   {v, id, method: "cancel"}, of the request with that id
//	event    {v, method, params}
type message struct {
	Version int             `json:"v"`
	ID      uint64          `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// asks reports whether m wants an answer.
func (m *message) asks() bool { return m.ID != 0 && m.Method != "" && m.Method != methodCancel }

// conn sends and receives messages with descriptors. Sending is safe for
// concurrent use, receiving belongs to one goroutine.
type conn struct {
	c     *net.UnixConn
	files int // descriptors accepted beside a message
}

// Pair returns two connected sockets, close-on-exec.
func Pair() (a, b *FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return NewFD(p[0]), NewFD(p[1]), nil
}

// FromFD makes a connection of a socket descriptor and closes the descriptor.
func FromFD(f *FD) (*net.UnixConn, error) {
	n := f.Release()
	// FileConn makes a copy of its own that is in Go's poller.
	file := os.NewFile(uintptr(n), "socket")
	if file == nil {
		return nil, fmt.Errorf("descriptor %d: %w", n, os.ErrInvalid)
	}
	defer func() { _ = file.Close() }()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", n, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		_ = c.Close()
		return nil, fmt.Errorf("descriptor %d is not a SOCK_SEQPACKET socket: %w", n, os.ErrInvalid)
	}
	return u, nil
}

func (c *conn) send(m message, files []*FD) error {
	m.Version = Version
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.Method, err)
	}
	if len(b) > MaxMessage || len(files) > MaxFiles {
		return fmt.Errorf("%w: %d bytes, %d descriptors", ErrMessage, len(b), len(files))
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			if fds[i] = f.Int(); fds[i] < 0 {
				return fmt.Errorf("send %s: %w", m.Method, os.ErrClosed)
			}
		}
		rights = unix.UnixRights(fds...)
	}
	if err := c.c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	// A datagram is sent whole or not at all, so senders need no lock.
	_, _, err = c.c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive returns the next message and its descriptors, which are the caller's.
// The error is [io.EOF] when the peer is gone.
func (c *conn) receive(buf []byte) (message, []*FD, error) {
	var oob []byte
	if c.files > 0 {
		oob = make([]byte, unix.CmsgLen(4*c.files)) // CmsgSpace would have room for one more
	}
	n, oobn, flags, _, err := c.c.ReadMsgUnix(buf, oob)
	if err != nil {
		if errors.Is(err, unix.ECONNRESET) {
			err = io.EOF // the peer died with messages of ours unread
		}
		return message{}, nil, err
	}
	files, err := receivedFiles(oob[:oobn])
	if err != nil {
		return message{}, nil, err
	}
	var m message
	switch {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("%w: longer than %d bytes or %d descriptors", ErrMessage, MaxMessage, c.files)
	default:
		if err = json.Unmarshal(buf[:n], &m); err != nil {
			err = fmt.Errorf("%w: %d bytes that are not a message", ErrMessage, n)
		} else if m.Version != Version {
			err = fmt.Errorf("%w: version %d, want %d", ErrMessage, m.Version, Version)
		}
	}
	if err != nil {
		closeAll(files)
		return message{}, nil, err
	}
	return m, files, nil
}

// receivedFiles takes the descriptors out of a control message. The Go runtime
// receives them close-on-exec.
func receivedFiles(oob []byte) ([]*FD, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message", ErrMessage)
	}
	var files []*FD
	for i := range cmsgs {
		fds, err := unix.ParseUnixRights(&cmsgs[i])
		if err != nil {
			continue // not descriptors: nothing to close, nothing we use
		}
		for _, n := range fds {
			files = append(files, NewFD(n))
		}
	}
	return files, nil
}
