package uftpfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Create makes an empty file, or an existing one empty, and opens it for reading
// and writing. The server chooses the permissions of a new file.
func (f *FS) Create(name string) (*File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0)
}

func (f *FS) open(name string) (*File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile opens a file or directory with flags as [os.OpenFile] has them. A new
// file gets perm less the umask, or what the server chooses if perm is 0.
//
// The protocol has no exclusive creation: with O_EXCL a file that another client
// makes at the same moment can go unnoticed. With O_APPEND each Write goes to the
// end of the file as this File knows it.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	const op = "open"
	p, err := f.path(op, name)
	if err != nil {
		return nil, err
	}
	info, err := f.client.Stat(f.ctx, p)
	switch {
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0 && errIsAbout(err):
		info, err = f.make(p, perm)
	case err == nil:
		info, err = f.existing(p, info, flag)
	}
	if err != nil {
		return nil, fail(op, name, err)
	}
	return newFile(f, name, p, flag, info), nil
}

// errIsAbout reports whether an error is about the file and not about the base
// directory, without which no session begins.
func errIsAbout(err error) bool {
	e, ok := errors.AsType[*uftp.Error](err)
	return ok && e.Op != "connect" && e.Op != "authenticate"
}

// make makes an empty file.
func (f *FS) make(p string, perm fs.FileMode) (uftp.Info, error) {
	if _, err := f.client.Create(f.ctx, p); err != nil {
		return uftp.Info{}, err
	}
	if perm != 0 {
		if err := f.client.Chmod(f.ctx, p, perm&^f.umask); err != nil {
			return uftp.Info{}, err
		}
	}
	// It is ours, whatever its permissions say: we may read and write through
	// this File.
	return uftp.Info{Name: path.Base(p), ModTime: time.Now(), Access: 6}, nil
}

// existing prepares what is there for being opened.
func (f *FS) existing(p string, info uftp.Info, flag int) (uftp.Info, error) {
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return info, fs.ErrExist
	case writes && info.IsDir():
		return info, syscall.EISDIR
	case !info.IsDir() && flag&os.O_WRONLY == 0 && info.Access&4 == 0,
		writes && info.Access&2 == 0:
		return info, fs.ErrPermission
	case writes && flag&os.O_TRUNC != 0 && info.Size > 0:
		return f.client.Create(f.ctx, p)
	}
	return info, nil
}

// WriteFile writes data to a file, making it or replacing what it held. A new
// file gets perm less the umask, or what the server chooses if perm is 0. After a
// failure the file may hold a part.
func (f *FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	const op = "write"
	p, err := f.path(op, name)
	if err != nil {
		return err
	}
	isNew := false
	if perm != 0 {
		_, err := f.client.Stat(f.ctx, p)
		isNew = errors.Is(err, fs.ErrNotExist)
	}
	_, err = f.client.Put(f.ctx, p, bytes.NewReader(data))
	if err == nil && isNew {
		err = f.client.Chmod(f.ctx, p, perm&^f.umask)
	}
	return fail(op, name, err)
}

// Mkdir makes a directory with perm less the umask, or what the server chooses
// if perm is 0.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, func(p string) error { return f.mkdir(p, perm) })
}

func (f *FS) mkdir(p string, perm fs.FileMode) error {
	err := f.client.Mkdir(f.ctx, p)
	if err == nil && perm != 0 {
		err = f.client.Chmod(f.ctx, p, perm&^f.umask)
	}
	return err
}

// MkdirAll makes a directory and its parents where they are missing.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, func(p string) error { return f.mkdirAll(p, perm) })
}

func (f *FS) mkdirAll(p string, perm fs.FileMode) error {
	if p == "." {
		return nil
	}
	err := f.mkdir(p, perm)
	switch {
	case errors.Is(err, fs.ErrNotExist) && errIsAbout(err):
		if err := f.mkdirAll(path.Dir(p), perm); err != nil {
			return err
		}
		err = f.mkdir(p, perm)
		if errors.Is(err, fs.ErrExist) {
			err = nil // somebody else made it just now
		}
	case errors.Is(err, fs.ErrExist):
		info, serr := f.client.Stat(f.ctx, p)
		switch {
		case serr != nil:
			return serr
		case !info.IsDir():
			return syscall.ENOTDIR
		}
		return nil
	}
	return err
}

// Rename gives a file or directory another name, replacing a file or an empty
// directory that has it.
func (f *FS) Rename(from, to string) error {
	t, err := f.path("rename", to)
	if err != nil {
		return err
	}
	return f.change("rename", from, func(p string) error { return f.client.Rename(f.ctx, p, t) })
}

// Chmod sets the permission, set-id and sticky bits; see [uftp.Client.Chmod].
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.change("chmod", name, func(p string) error { return f.client.Chmod(f.ctx, p, mode) })
}

// Chtimes sets the time of modification, exact to the second. The protocol knows
// no other time; the server gives the access time the same.
func (f *FS) Chtimes(name string, mtime time.Time) error {
	return f.change("chtimes", name, func(p string) error { return f.client.Chtimes(f.ctx, p, mtime) })
}

// Truncate gives a file the size; see [uftp.Client.Truncate] for what it costs.
func (f *FS) Truncate(name string, size int64) error {
	return f.change("truncate", name, func(p string) error { return f.client.Truncate(f.ctx, p, size) })
}

// change runs an operation on a name.
func (f *FS) change(op, name string, do func(p string) error) error {
	p, err := f.path(op, name)
	if err != nil {
		return err
	}
	return fail(op, name, do(p))
}
