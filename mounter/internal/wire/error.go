package wire

import (
	"context"
	"errors"
	"io/fs"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// ErrStopping means that the keeper has been told to stop, and begins nothing new.
var ErrStopping = errors.New("the keeper is stopping")

// causes names every cause that crosses a process boundary. The first that
// matches is sent, so a special case stands before the general one.
var causes = []struct { //nolint:gochecknoglobals // a table that nobody changes
	name string
	err  error
}{
	{"auth", uftp.ErrAuth},
	{"busy", uftp.ErrBusy},
	{"untrusted", uftp.ErrUntrusted},
	{"unavailable", uftp.ErrUnavailable},
	{"protocol", uftp.ErrProtocol},
	{"attribute", volume.ErrInvalid},
	{"not_exist", fs.ErrNotExist},
	{"permission", fs.ErrPermission},
	{"exist", fs.ErrExist},
	{"invalid", fs.ErrInvalid},
	{"unsupported", errors.ErrUnsupported},
	{"deadline", context.DeadlineExceeded},
	{"canceled", context.Canceled},
	{"closed", ErrClosed},
	{"stopping", ErrStopping},
}

// Error is an error as it is sent.
type Error struct {
	Cause string `json:"cause,omitempty"` // a name of the table, "" for none
	Text  string `json:"text"`            // the whole message
	// What *[uftp.Error] holds, if there was one.
	Op   string `json:"op,omitempty"`
	Path string `json:"path,omitempty"`
	Code int    `json:"code,omitempty"`
	Msg  string `json:"msg,omitempty"`
}

// maxText bounds each text of an error, in bytes.
const maxText = 4096

// EncodeError makes err fit to be sent.
func EncodeError(err error) *Error {
	e := &Error{Text: clip(err.Error())}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			e.Cause = c.name
			break
		}
	}
	if u, ok := errors.AsType[*uftp.Error](err); ok {
		e.Op, e.Path, e.Code, e.Msg = u.Op, clip(u.Path), u.Code, clip(u.Msg)
	}
	return e
}

func clip(s string) string {
	const mark = "…" // within the limit, so that what was cut once stays as it is
	if len(s) > maxText {
		return s[:maxText-len(mark)] + mark
	}
	return s
}

// Decode makes an error of what was received: the same message, and
// [errors.Is] and [errors.As] find the same cause and *[uftp.Error]. Texts are
// cut once more, because whoever sent them may not have done it.
func (e *Error) Decode() error {
	var cause error
	for _, c := range causes {
		if c.name == e.Cause {
			cause = c.err
			break
		}
	}
	if e.Op != "" {
		if cause == nil {
			cause = errors.New("unknown cause")
		}
		cause = &uftp.Error{Op: clip(e.Op), Path: clip(e.Path), Code: e.Code, Msg: clip(e.Msg), Err: cause}
	}
	return &remoteError{text: clip(e.Text), cause: cause}
}

type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }
