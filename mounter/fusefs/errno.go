package fusefs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// errnos returns the one table from causes of errors to what a program sees.
// The first row that matches wins: who was interrupted while a server was away
// calls again after EINTR, and an ErrUnavailable may well wrap the ECONNRESET
// that made it one, which is no error of a file. A row without a number passes
// on the number that the error has.
func errnos() []errnoRow {
	return []errnoRow{
		{context.Canceled, syscall.EINTR},
		{uftp.ErrAuth, syscall.EACCES},
		{uftp.ErrBusy, syscall.EBUSY},
		{uftp.ErrUntrusted, syscall.EIO},
		{uftp.ErrUnavailable, syscall.EIO},
		{uftp.ErrProtocol, syscall.EIO},
		{blockcache.ErrClosed, syscall.EIO},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{syscall.ENOSYS, syscall.ENOTSUP}, // ENOSYS: the kernel would never ask again, for any file
		{nil, 0},
		{fs.ErrNotExist, syscall.ENOENT},
		{fs.ErrPermission, syscall.EACCES},
		{fs.ErrExist, syscall.EEXIST},
		{fs.ErrInvalid, syscall.EINVAL},
		{volume.ErrInvalid, syscall.EINVAL},
		{errors.ErrUnsupported, syscall.ENOTSUP},
	}
}

type errnoRow struct {
	cause error
	errno syscall.Errno
}

// Errno returns what a program is told about err: 0 for nil, EIO for what
// nobody has thought of.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, row := range errnos() {
		var own syscall.Errno
		switch {
		case row.cause == nil && errors.As(err, &own) && own != 0:
			return own
		case row.cause != nil && errors.Is(err, row.cause):
			return row.errno
		}
	}
	return syscall.EIO
}
