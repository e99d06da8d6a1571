package uftp

import (
	"errors"
	"fmt"
	"strings"
)

// The causes of failure that are not already in [io/fs] (fs.ErrNotExist,
// fs.ErrPermission, fs.ErrExist, fs.ErrInvalid), [context] or
// [errors.ErrUnsupported]. Use [errors.Is].
var (
	// ErrAuth means that the auth service or UFTPD did not accept the credential.
	ErrAuth = errors.New("not authenticated")
	// ErrBusy means that the server's limit of sessions per user is reached.
	ErrBusy = errors.New("too many sessions")
	// ErrUnavailable means that a server could not be reached, answered that it
	// is down, or that the connection was lost.
	ErrUnavailable = errors.New("unavailable")
	// ErrUntrusted means that the auth service's TLS certificate was not
	// accepted. It is an ErrUnavailable that no retry mends.
	ErrUntrusted = fmt.Errorf("%w: certificate not trusted", ErrUnavailable)
	// ErrProtocol means that the server broke the protocol.
	ErrProtocol = errors.New("protocol error")
	// ErrCorrupt means that the hash of a copy is not that of its source. The copy
	// was thrown away.
	ErrCorrupt = errors.New("checksums differ")
)

// Error is the error of one operation.
type Error struct {
	Op   string // what was tried: the operation in lower case, "connect", or "authenticate"
	Path string // the remote path as the caller gave it, the base directory, or the URL without secrets
	Code int    // the FTP reply code or HTTP status, 0 if there was none
	Msg  string // what the server said
	Err  error  // the cause, for errors.Is; never nil
}

// Error implements error: "op path: cause (code: message)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Path != "" {
		fmt.Fprintf(&b, " %q", e.Path)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	switch {
	case e.Code != 0 && e.Msg != "":
		fmt.Fprintf(&b, " (%d: %s)", e.Code, e.Msg)
	case e.Code != 0:
		fmt.Fprintf(&b, " (%d)", e.Code)
	case e.Msg != "":
		fmt.Fprintf(&b, " (%s)", e.Msg)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
