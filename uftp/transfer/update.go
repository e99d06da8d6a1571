package transfer

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Update implements [Tree].
func (l Local) Update(_ context.Context, name string) (Part, error) {
	f, err := os.OpenFile(l.Path(name), os.O_WRONLY|os.O_CREATE, 0o666) //nolint:gosec // the umask decides
	if err != nil {
		return nil, err
	}
	return localUpdate{f}, nil
}

// localUpdate is a local file that is written in place.
type localUpdate struct{ f *os.File }

func (u localUpdate) Size() int64 { return 0 }

func (u localUpdate) WriteAt(_ context.Context, p []byte, off int64) error {
	_, err := u.f.WriteAt(p, off)
	return err
}

func (u localUpdate) Hash(context.Context, string) (string, error) { return "", errors.ErrUnsupported }

func (u localUpdate) Commit(_ context.Context, _ int64, a uftp.Attr) error {
	if a.SetMode {
		if err := u.f.Chmod(a.Mode.Perm()); err != nil {
			return err
		}
	}
	if a.ModTime.IsZero() {
		return nil
	}
	return os.Chtimes(u.f.Name(), time.Time{}, a.ModTime)
}

func (u localUpdate) Close(context.Context, bool) error { return u.f.Close() }

// Update implements [Tree]. It uses no network.
func (r Remote) Update(_ context.Context, name string) (Part, error) {
	return remoteUpdate{r.Client, name}, checkName(name)
}

// remoteUpdate is a file on a server that is written in place.
type remoteUpdate struct {
	c    Client
	name string
}

func (u remoteUpdate) Size() int64 { return 0 }

func (u remoteUpdate) WriteAt(ctx context.Context, p []byte, off int64) error {
	_, err := u.c.WriteAt(ctx, u.name, p, off)
	return err
}

func (u remoteUpdate) Hash(context.Context, string) (string, error) { return "", errors.ErrUnsupported }

func (u remoteUpdate) Commit(ctx context.Context, _ int64, a uftp.Attr) error {
	return set(ctx, u.c, u.name, a)
}

// set sets attributes, if there are any.
func set(ctx context.Context, c Client, name string, a uftp.Attr) error {
	if !a.SetMode && a.ModTime.IsZero() {
		return nil
	}
	_, err := c.SetAttr(ctx, name, a)
	return err
}

func (u remoteUpdate) Close(context.Context, bool) error { return nil }

// shifted is a part whose first byte is at off of the file.
type shifted struct {
	Part
	off int64
}

func (s shifted) WriteAt(ctx context.Context, p []byte, off int64) error {
	return s.Part.WriteAt(ctx, p, s.off+off)
}

// update begins writing in place.
func (r *runner) update(ctx context.Context, name string) (Part, int64, error) {
	part, err := r.To.Update(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	s := shifted{part, r.Range.Offset}
	if t, ok := part.(taker); ok {
		return shiftedTaker{s, t}, 0, nil
	}
	return s, 0, nil
}
