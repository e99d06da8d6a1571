package uftpafero

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/afero"

	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

type filesystem struct{ files *uftpfs.FS }

// New returns files as afero has them. Owners cannot be set: the protocol has no
// word for them, and Chown is errors.ErrUnsupported. Modes are those of files,
// less the umask of the FS.
func New(files *uftpfs.FS) afero.Fs { return filesystem{files} }

// name translates afero's names, which are the operating system's.
func name(n string) string {
	n = strings.TrimLeft(path.Clean("/"+n), "/")
	if n == "" {
		return "."
	}
	return n
}

// flat makes an error one that os.IsNotExist and its likes understand: afero and
// what builds on it ask them, and they do not look below an fs.PathError. What
// the server said is lost where they are to answer.
func flat(err error) error {
	pathErr, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return err
	}
	for _, kind := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission} {
		if errors.Is(err, kind) {
			return &fs.PathError{Op: pathErr.Op, Path: pathErr.Path, Err: kind}
		}
	}
	return err
}

// Name implements [afero.Fs].
func (filesystem) Name() string { return "uftp" }

// Create implements [afero.Fs].
func (f filesystem) Create(n string) (afero.File, error) {
	return f.OpenFile(n, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0)
}

// Open implements [afero.Fs].
func (f filesystem) Open(n string) (afero.File, error) { return f.OpenFile(n, os.O_RDONLY, 0) }

// OpenFile implements [afero.Fs].
func (f filesystem) OpenFile(n string, flag int, perm os.FileMode) (afero.File, error) {
	opened, err := f.files.OpenFile(name(n), flag, perm)
	if err != nil {
		return nil, flat(err)
	}
	return file{opened, n}, nil
}

// Mkdir implements [afero.Fs].
func (f filesystem) Mkdir(n string, perm os.FileMode) error {
	return flat(f.files.Mkdir(name(n), perm))
}

// MkdirAll implements [afero.Fs].
func (f filesystem) MkdirAll(n string, perm os.FileMode) error {
	return flat(f.files.MkdirAll(name(n), perm))
}

// Remove implements [afero.Fs].
func (f filesystem) Remove(n string) error { return flat(f.files.Remove(name(n))) }

// RemoveAll implements [afero.Fs].
func (f filesystem) RemoveAll(n string) error { return flat(f.files.RemoveAll(name(n))) }

// Rename implements [afero.Fs].
func (f filesystem) Rename(from, to string) error { return flat(f.files.Rename(name(from), name(to))) }

// Stat implements [afero.Fs].
func (f filesystem) Stat(n string) (os.FileInfo, error) {
	info, err := f.files.Stat(name(n))
	return info, flat(err)
}

// Chmod implements [afero.Fs].
func (f filesystem) Chmod(n string, mode os.FileMode) error {
	return flat(f.files.Chmod(name(n), mode))
}

// Chown implements [afero.Fs].
func (f filesystem) Chown(n string, _, _ int) error {
	return &fs.PathError{Op: "chown", Path: n, Err: fmt.Errorf("the protocol has no owners: %w", errors.ErrUnsupported)}
}

// Chtimes implements [afero.Fs]. The access time becomes mtime, too.
func (f filesystem) Chtimes(n string, _, mtime time.Time) error {
	return flat(f.files.Chtimes(name(n), mtime))
}

// file adds what afero's files have beside ours.
type file struct {
	*uftpfs.File
	name string
}

// Name implements [afero.File]: the name as it was given.
func (f file) Name() string { return f.name }

// Readdir implements [afero.File].
func (f file) Readdir(count int) ([]os.FileInfo, error) {
	entries, err := f.ReadDir(count)
	infos := make([]os.FileInfo, 0, len(entries))
	for _, e := range entries {
		info, ierr := e.Info()
		if ierr != nil {
			return infos, ierr
		}
		infos = append(infos, info)
	}
	return infos, err
}

// Readdirnames implements [afero.File].
func (f file) Readdirnames(n int) ([]string, error) {
	entries, err := f.ReadDir(n)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}
