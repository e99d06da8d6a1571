package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// clip makes src the range of it that the job asks for, and info that of the copy.
func (r *runner) clip(src Source, info *uftp.Info) (Source, error) {
	if r.Range == nil {
		return src, nil
	}
	if r.Range.Offset >= info.Size {
		err := fmt.Errorf("%w: the range begins at %d, the file has %d bytes", fs.ErrInvalid, r.Range.Offset, info.Size)
		return nil, errors.Join(err, src.Close())
	}
	info.Size = min(r.Range.Length, info.Size-r.Range.Offset)
	return clipped{src, r.Range.Offset}, nil
}

// clipped is a source that begins at off.
type clipped struct {
	Source
	off int64
}

// ReadAt implements [Source].
func (c clipped) ReadAt(ctx context.Context, p []byte, off int64) error {
	return c.Source.ReadAt(ctx, p, c.off+off)
}
