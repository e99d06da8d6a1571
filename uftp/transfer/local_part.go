package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Create implements [Tree]. It fails while another process works on the part.
func (l Local) Create(_ context.Context, name, part string, resume bool) (Part, error) {
	target := l.Path(name)
	path := filepath.Join(filepath.Dir(target), part)
	f, err := openPart(path)
	if err != nil {
		return nil, unwritten(target, err)
	}
	p := &localPart{f: f, path: path, target: target}
	if err := p.begin(resume); err != nil {
		_ = f.Close()
		return nil, unwritten(target, err)
	}
	return p, nil
}

// unwritten names the target that cannot be written: the item names its source,
// and what is missing or full is not that.
func unwritten(target string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "write", Path: target, Err: err}
}

// openPart opens a part and locks it. Whoever had it open before may have given it
// its final name since, or removed it: then another one is made. That many times in
// a row it happens to nobody.
func openPart(path string) (*os.File, error) {
	for range 1000 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666) //nolint:gosec // the umask decides
		if err != nil {
			return nil, bare(err)
		}
		still, err := lock(f, path)
		if err == nil && still {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, errCopying
}

// lock locks a file, and reports whether it still has the name that it was opened by.
func lock(f *os.File, path string) (bool, error) {
	// A file system without locks is no reason not to write there.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false, errCopying
	}
	fi, err := f.Stat()
	if err != nil {
		return false, bare(err)
	}
	named, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, bare(err)
	}
	return err == nil && os.SameFile(fi, named), nil
}

// localPart is a part on the local disk.
type localPart struct {
	f            *os.File
	path, target string
	size         int64
	committed    bool
}

func (p *localPart) begin(resume bool) error {
	if !resume {
		return bare(p.f.Truncate(0))
	}
	fi, err := p.f.Stat()
	if err != nil {
		return bare(err)
	}
	p.size = fi.Size()
	return nil
}

// Size implements [Part].
func (p *localPart) Size() int64 { return p.size }

// WriteAt implements [Part].
func (p *localPart) WriteAt(_ context.Context, b []byte, off int64) error {
	_, err := p.f.WriteAt(b, off)
	return unwritten(p.target, bare(err))
}

// Hash implements [Part].
func (p *localPart) Hash(ctx context.Context, algo string) (string, error) {
	return hashOf(ctx, io.NewSectionReader(p.f, 0, 1<<62), algo)
}

// Commit implements [Part].
func (p *localPart) Commit(_ context.Context, size int64, a uftp.Attr) error {
	return unwritten(p.target, p.commit(size, a))
}

func (p *localPart) commit(size int64, a uftp.Attr) error {
	if err := p.flush(); err != nil {
		return err
	}
	fi, err := p.f.Stat()
	if err != nil {
		return bare(err)
	}
	if fi.Size() != size {
		return fmt.Errorf("%w: %d bytes on disk after writing %d", io.ErrShortWrite, fi.Size(), size)
	}
	if a.SetMode && fi.Mode().Perm() != a.Mode.Perm() {
		if err := p.f.Chmod(a.Mode.Perm()); err != nil {
			return bare(err)
		}
	}
	if !a.ModTime.IsZero() {
		if err := os.Chtimes(p.path, time.Time{}, a.ModTime); err != nil {
			return bare(err)
		}
	}
	if err := os.Rename(p.path, p.target); err != nil {
		if linkErr, ok := errors.AsType[*os.LinkError](err); ok {
			return linkErr.Err
		}
		return err
	}
	p.committed = true
	return nil
}

// flush hears of what the file system could not write: over a network it may say
// so only when a file is closed. The lock stays, since a copy of the descriptor is.
func (p *localPart) flush() error {
	fd, err := unix.FcntlInt(p.f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Close implements [Part]. It keeps nothing that the file system failed to write
// somewhere. The lock goes last: then the part is somebody else's.
func (p *localPart) Close(_ context.Context, keep bool) error {
	if !p.committed && (!keep || p.flush() != nil) {
		err := bare(os.Remove(p.path))
		_ = p.f.Close() // of what is gone
		return err
	}
	return bare(p.f.Close())
}
