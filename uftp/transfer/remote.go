package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Client is what a [Remote] needs of a [uftp.Client].
type Client interface {
	Stat(ctx context.Context, path string) (uftp.Info, error)
	List(ctx context.Context, dir string) ([]uftp.Info, error)
	ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error)
	Fetch(ctx context.Context, r uftp.Read) (int, uftp.Info, error)
	WriteAt(ctx context.Context, path string, p []byte, off int64) (int, error)
	WriteFrom(ctx context.Context, path string, spans []uftp.WriteSpan, fill func(p []byte, off int64) error) (uftp.Info, error)
	Create(ctx context.Context, path string) (uftp.Info, error)
	MkdirSome(ctx context.Context, paths []string) []error
	Remove(ctx context.Context, path string) error
	RemoveSome(ctx context.Context, what []uftp.Removal) []error
	Rename(ctx context.Context, from, to string) error
	SetAttr(ctx context.Context, path string, a uftp.Attr) (uftp.Info, error)
	SetAttrSome(ctx context.Context, paths []string, attrs []uftp.Attr) []error
	Hash(ctx context.Context, path, algo string, off, n int64) (string, error)
}

// Remote is a directory of a UFTP server as a [Tree].
type Remote struct {
	Client Client
	// Prefix goes before names when they are shown to people.
	Prefix string
}

// Path implements [Tree].
func (r Remote) Path(name string) string { return r.Prefix + name }

// Origin implements [Tree]. A client says in its String whose files it has, where.
func (r Remote) Origin(name string) string {
	if place, ok := r.Client.(fmt.Stringer); ok {
		return place.String() + "\x00" + r.Path(name)
	}
	return r.Path(name)
}

// Stat implements [Tree].
func (r Remote) Stat(ctx context.Context, name string) (uftp.Info, error) {
	return r.Client.Stat(ctx, name)
}

// List implements [Tree].
func (r Remote) List(ctx context.Context, dir string) ([]uftp.Info, error) {
	return r.Client.List(ctx, dir)
}

// ListSome implements [Tree].
func (r Remote) ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error) {
	return r.Client.ListSome(ctx, dirs)
}

// Open implements [Tree]. It uses no network.
func (r Remote) Open(_ context.Context, name string, info uftp.Info) (Source, error) {
	if !info.Mode.IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", errors.ErrUnsupported)
	}
	return remoteSource{r.Client, name, info}, nil
}

// MkdirSome implements [Tree].
func (r Remote) MkdirSome(ctx context.Context, names []string) []error {
	return r.Client.MkdirSome(ctx, names)
}

// RemoveSome implements [Tree].
func (r Remote) RemoveSome(ctx context.Context, what []uftp.Removal) []error {
	return r.Client.RemoveSome(ctx, what)
}

// SetAttrSome implements [Tree].
func (r Remote) SetAttrSome(ctx context.Context, names []string, attrs []uftp.Attr) []error {
	return r.Client.SetAttrSome(ctx, names, attrs)
}

// Hash implements [Tree]: the server computes it.
func (r Remote) Hash(ctx context.Context, name, algo string) (string, error) {
	return r.Client.Hash(ctx, name, algo, 0, -1)
}

// remoteSource is a file of a Remote.
type remoteSource struct {
	c    Client
	name string
	info uftp.Info
}

// ReadAt implements [Source]. It also sees that the file is still the one that
// was opened.
func (s remoteSource) ReadAt(ctx context.Context, p []byte, off int64) error {
	n, after, err := s.c.Fetch(ctx, uftp.Read{Path: s.name, Buf: p, Off: off, Order: off})
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends at %d", ErrChanged, off+int64(n))
	case err != nil:
		return err
	}
	return sameVersion(after, s.info)
}

// Check implements [Source]: every read has checked.
func (s remoteSource) Check(context.Context) error { return nil }

// Close implements [Source].
func (s remoteSource) Close() error { return nil }

// Create implements [Tree]. Without resume it uses no network.
func (r Remote) Create(ctx context.Context, name, part string, resume bool) (Part, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	p := &remotePart{c: r.Client, path: path.Join(path.Dir(name), part), target: name}
	if !resume {
		return p, nil
	}
	// Reading nothing tells the size; Stat, of what is not there, costs the session its
	// data connection.
	_, info, err := r.Client.Fetch(ctx, uftp.Read{Path: p.path})
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		p.size = info.Size
		p.exists.Store(true)
	}
	return p, nil
}
