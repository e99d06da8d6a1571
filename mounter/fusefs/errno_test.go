package fusefs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestErrno(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{fs.ErrNotExist, syscall.ENOENT},
		{fs.ErrPermission, syscall.EACCES},
		{fs.ErrExist, syscall.EEXIST},
		{fs.ErrInvalid, syscall.EINVAL},
		{volume.ErrInvalid, syscall.EINVAL},
		{uftp.ErrAuth, syscall.EACCES},
		{uftp.ErrBusy, syscall.EBUSY},
		{uftp.ErrUnavailable, syscall.EIO},
		{uftp.ErrUntrusted, syscall.EIO},
		{uftp.ErrProtocol, syscall.EIO},
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{errors.ErrUnsupported, syscall.ENOTSUP},
		{blockcache.ErrClosed, syscall.EIO},
		{io.ErrUnexpectedEOF, syscall.EIO},
		{errors.New("a bug"), syscall.EIO},
		// Numbers from the server are passed on.
		{syscall.ENOTEMPTY, syscall.ENOTEMPTY},
		{syscall.EISDIR, syscall.EISDIR},
		{syscall.ENOTDIR, syscall.ENOTDIR},
		{syscall.ENOSPC, syscall.ENOSPC},
		{syscall.EDQUOT, syscall.EDQUOT},
		{syscall.EROFS, syscall.EROFS},
		{syscall.EXDEV, syscall.EXDEV},
		{syscall.ESTALE, syscall.ESTALE},
		{syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
		{syscall.EPERM, syscall.EPERM},
		{syscall.ENOSYS, syscall.ENOTSUP}, // the kernel would never ask again
		// Wrapped.
		{&uftp.Error{Op: "rmd", Err: syscall.ENOTEMPTY}, syscall.ENOTEMPTY},
		{fmt.Errorf("x: %w", &uftp.Error{Op: "stat", Err: fs.ErrNotExist}), syscall.ENOENT},
		{fmt.Errorf("%w: %w", uftp.ErrUnavailable, syscall.ECONNRESET), syscall.EIO},
		{fmt.Errorf("%w: %w", uftp.ErrUnavailable, os.ErrDeadlineExceeded), syscall.EIO},
		{fmt.Errorf("%w (%w)", uftp.ErrUnavailable, context.DeadlineExceeded), syscall.EIO},
		{fmt.Errorf("%w (%w)", uftp.ErrUnavailable, context.Canceled), syscall.EINTR},
	} {
		if got := fusefs.Errno(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}
