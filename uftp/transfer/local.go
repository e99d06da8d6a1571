package transfer

import (
	"context"
	"crypto/md5"  //nolint:gosec // servers offer it; it finds accidents, not attacks
	"crypto/sha1" //nolint:gosec // see above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Local is a directory of this machine as a [Tree]. Symbolic links are followed.
type Local struct {
	// Root is where names begin; "" is the current directory.
	Root string
}

// Path implements [Tree].
func (l Local) Path(name string) string {
	return filepath.Join(l.Root, filepath.FromSlash(name))
}

// Origin implements [Tree].
func (l Local) Origin(name string) string {
	path, err := filepath.Abs(l.Path(name))
	if err != nil {
		return l.Path(name) // relative to a directory that is no more
	}
	return path
}

// Stat implements [Tree].
func (l Local) Stat(_ context.Context, name string) (uftp.Info, error) {
	fi, err := os.Stat(l.Path(name))
	if err != nil {
		return uftp.Info{}, err
	}
	return localInfo(fi.Name(), fi), nil
}

func localInfo(name string, fi fs.FileInfo) uftp.Info {
	return uftp.Info{Name: name, Size: fi.Size(), Mode: fi.Mode(), ModTime: fi.ModTime()}
}

// List implements [Tree]. A link that leads nowhere, or to a directory it is in,
// is listed as a link.
func (l Local) List(ctx context.Context, dir string) ([]uftp.Info, error) {
	entries, err := os.ReadDir(l.Path(dir))
	if err != nil {
		return nil, err
	}
	infos := make([]uftp.Info, 0, len(entries))
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := filepath.Join(l.Path(dir), e.Name())
		fi, err := os.Stat(path)
		if err != nil || fi.IsDir() && e.Type()&fs.ModeSymlink != 0 && leadsUp(path) {
			fi, err = os.Lstat(path)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil:
			return nil, err
		default:
			infos = append(infos, localInfo(e.Name(), fi))
		}
	}
	return infos, nil
}

// leadsUp reports whether a link to a directory leads to one that it is in.
func leadsUp(link string) bool {
	dir, err := filepath.EvalSymlinks(filepath.Dir(link))
	if err != nil {
		return true // who knows
	}
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		return true
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return true
	}
	if to, err = filepath.Abs(to); err != nil {
		return true
	}
	rel, err := filepath.Rel(to, dir)
	return err != nil || rel != ".." && !strings.HasPrefix(rel, "../")
}

// ListSome implements [Tree].
func (l Local) ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error) {
	listings := make([]uftp.Listing, len(dirs))
	for i, dir := range dirs {
		listings[i].Entries, listings[i].Err = l.List(ctx, dir)
	}
	return listings, nil
}

// Open implements [Tree].
func (l Local) Open(_ context.Context, name string, info uftp.Info) (Source, error) {
	if !info.Mode.IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", errors.ErrUnsupported)
	}
	f, err := os.Open(l.Path(name))
	if err != nil {
		return nil, bare(err)
	}
	return localSource{f, info}, nil
}

// MkdirSome implements [Tree].
func (l Local) MkdirSome(_ context.Context, names []string) []error {
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = os.Mkdir(l.Path(name), 0o777) //nolint:gosec // the umask decides
	}
	return errs
}

// RemoveSome implements [Tree].
func (l Local) RemoveSome(ctx context.Context, what []uftp.Removal) []error {
	errs := make([]error, len(what))
	for i, x := range what {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = l.remove(x)
		}
	}
	return errs
}

func (l Local) remove(x uftp.Removal) error {
	fi, err := os.Lstat(l.Path(x.Path))
	switch { // os.Remove would remove either
	case err != nil:
		return err
	case x.Dir && !fi.IsDir():
		return syscall.ENOTDIR
	case !x.Dir && fi.IsDir():
		return syscall.EISDIR
	}
	return os.Remove(l.Path(x.Path))
}

// SetAttrSome implements [Tree].
func (l Local) SetAttrSome(_ context.Context, names []string, attrs []uftp.Attr) []error {
	errs := make([]error, len(names))
	for i, name := range names {
		a := attrs[i]
		if a.SetMode {
			errs[i] = os.Chmod(l.Path(name), a.Mode.Perm())
		}
		if errs[i] == nil && !a.ModTime.IsZero() {
			errs[i] = os.Chtimes(l.Path(name), time.Time{}, a.ModTime)
		}
	}
	return errs
}

// Hash implements [Tree].
func (l Local) Hash(ctx context.Context, name, algo string) (string, error) {
	f, err := os.Open(l.Path(name))
	if err != nil {
		return "", bare(err)
	}
	defer func() { _ = f.Close() }()
	return hashOf(ctx, f, algo)
}

// NewHash returns a hash by the name that servers have for it.
func NewHash(algo string) (hash.Hash, error) {
	switch algo {
	case "MD5":
		return md5.New(), nil //nolint:gosec // see the import
	case "SHA-1":
		return sha1.New(), nil //nolint:gosec // see the import
	case "SHA-256":
		return sha256.New(), nil
	case "SHA-512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("%w: hash algorithm %q", fs.ErrInvalid, algo)
}

func hashOf(ctx context.Context, r io.Reader, algo string) (string, error) {
	h, err := NewHash(algo)
	if err != nil {
		return "", err
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return "", err
		}
	}
}

// bare removes the path from an error of package os: the item names it.
func bare(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// localSource is an open file of a Local.
type localSource struct {
	f    *os.File
	info uftp.Info
}

// ReadAt implements [Source].
func (s localSource) ReadAt(_ context.Context, p []byte, off int64) error {
	n, err := s.f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends at %d", ErrChanged, off+int64(n))
	}
	return bare(err)
}

// Check implements [Source].
func (s localSource) Check(context.Context) error {
	fi, err := s.f.Stat()
	if err != nil {
		return bare(err)
	}
	return sameVersion(localInfo(s.info.Name, fi), s.info)
}

// Close implements [Source].
func (s localSource) Close() error { return s.f.Close() }

// sameVersion compares what a file is with what it was.
func sameVersion(is, was uftp.Info) error {
	if is.Size != was.Size || !is.ModTime.Equal(was.ModTime) {
		return ErrChanged
	}
	return nil
}
