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

// causes is the one table from causes of errors to what a program sees. The
// first row that matches wins: an ErrUnavailable may well wrap the ECONNRESET
// that made it one, which is no error of a file.
var causes = []struct {
	cause error
	errno syscall.Errno
}{
	{uftp.ErrAuth, syscall.EACCES},
	{uftp.ErrBusy, syscall.EBUSY},
	{uftp.ErrUntrusted, syscall.EIO},
	{uftp.ErrUnavailable, syscall.EIO},
	{uftp.ErrProtocol, syscall.EIO},
	{blockcache.ErrClosed, syscall.EIO},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	// ENOSYS would tell the kernel never to ask again, for any file.
	{syscall.ENOSYS, syscall.ENOTSUP},
	// Errors with a number of their own are passed on here, see Errno.
	{syscall.Errno(0), 0},
	{fs.ErrNotExist, syscall.ENOENT},
	{fs.ErrPermission, syscall.EACCES},
	{fs.ErrExist, syscall.EEXIST},
	{fs.ErrInvalid, syscall.EINVAL},
	{volume.ErrInvalid, syscall.EINVAL},
	{errors.ErrUnsupported, syscall.ENOTSUP},
}

// Errno returns what a program is told about err: 0 for nil, EIO for what
// nobody has thought of.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, c := range causes {
		if c.cause == syscall.Errno(0) {
			var errno syscall.Errno
			if errors.As(err, &errno) && errno != 0 {
				return errno
			}
			continue
		}
		if errors.Is(err, c.cause) {
			return c.errno
		}
	}
	return syscall.EIO
}
