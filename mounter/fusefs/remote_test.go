package fusefs_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// dirRemote is a fusefs.Remote on a local directory that can no more than the
// wire can: times of a second, no handles, no truncation but by Truncate, no
// names with line breaks, permissions of a user who is not root.
type dirRemote struct {
	root string
	// fault, if set, is called before each call with its name and path. Its
	// error becomes the call's; it may also block.
	fault atomic.Pointer[func(ctx context.Context, op, path string) error]
	calls atomic.Int64
}

func (r *dirRemote) setFault(f func(ctx context.Context, op, path string) error) {
	if f == nil {
		r.fault.Store(nil)
		return
	}
	r.fault.Store(&f)
}

// local returns where path is, or the error that the client has before it sends
// anything.
func (r *dirRemote) local(ctx context.Context, op, path string) (string, error) {
	r.calls.Add(1)
	if f := r.fault.Load(); f != nil {
		if err := (*f)(ctx, op, path); err != nil {
			return "", &uftp.Error{Op: op, Path: path, Err: err}
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if strings.ContainsAny(path, "\r\n\x00") || !utf8.ValidString(path) {
		return "", &uftp.Error{Op: op, Path: path, Err: fs.ErrInvalid}
	}
	if slices.Contains(strings.Split(path, "/"), "..") {
		return "", &uftp.Error{Op: op, Path: path, Err: fs.ErrInvalid}
	}
	return filepath.Join(r.root, path), nil
}

// remoteError is err as the client would report it.
func remoteError(op, path string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var errno syscall.Errno
	e := &uftp.Error{Op: op, Path: path, Code: 500, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Code, e.Err = 550, fs.ErrNotExist
	case errors.Is(err, fs.ErrPermission):
		e.Err = fs.ErrPermission
	case errors.As(err, &errno):
		e.Err, e.Msg = errno, fmt.Sprintf("[Errno %d]", int(errno))
	}
	return e
}

func (r *dirRemote) Stat(ctx context.Context, path string) (uftp.Info, error) {
	p, err := r.local(ctx, "stat", path)
	if err != nil {
		return uftp.Info{}, err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return uftp.Info{}, remoteError("stat", path, err)
	}
	return remoteInfo(fi), nil
}

func (r *dirRemote) StatSome(ctx context.Context, paths []string) []uftp.Looked {
	looked := make([]uftp.Looked, len(paths))
	if _, err := r.local(ctx, "stat some", ""); err != nil {
		for i := range looked {
			looked[i].Err = err
		}
		return looked
	}
	for i, path := range paths {
		looked[i].Info, looked[i].Err = r.Stat(ctx, path)
	}
	return looked
}

func remoteInfo(fi fs.FileInfo) uftp.Info {
	return uftp.Info{
		Name: fi.Name(), Size: fi.Size(), Mode: fi.Mode(),
		ModTime: fi.ModTime().Truncate(time.Second),
		Access:  uint8(fi.Mode().Perm() >> 6 & 7),
	}
}

func (r *dirRemote) List(ctx context.Context, path string) ([]uftp.Info, error) {
	p, err := r.local(ctx, "list", path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p)
	if err != nil {
		return nil, remoteError("list", path, err)
	}
	var infos []uftp.Info
	for _, e := range entries {
		if fi, err := os.Stat(filepath.Join(p, e.Name())); err == nil {
			info := remoteInfo(fi)
			info.Name = e.Name()
			infos = append(infos, info)
		}
	}
	return infos, nil
}

func (r *dirRemote) ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error) {
	listings := make([]uftp.Listing, len(dirs))
	var listing sync.WaitGroup
	for i, dir := range dirs {
		listing.Go(func() { listings[i].Entries, listings[i].Err = r.List(ctx, dir) })
	}
	listing.Wait()
	return listings, nil
}

// need is what permission bits do to a user who is not root.
func need(p string, bit fs.FileMode) error {
	if fi, err := os.Stat(p); err == nil && fi.Mode()&bit == 0 {
		return fs.ErrPermission
	}
	return nil
}

func (r *dirRemote) Fetch(ctx context.Context, in uftp.Read) (n int, after uftp.Info, err error) {
	p, err := r.local(ctx, "read", in.Path)
	if err == nil {
		err = need(p, 0o400)
	}
	if err != nil {
		return 0, after, remoteError("read", in.Path, err)
	}
	f, err := os.Open(p)
	if err != nil {
		return 0, after, remoteError("read", in.Path, err)
	}
	defer f.Close()
	n, err = f.ReadAt(in.Buf, in.Off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, after, remoteError("read", in.Path, err)
	}
	if _, ferr := r.local(ctx, "fetched", in.Path); ferr != nil {
		return n, after, ferr
	}
	fi, serr := os.Stat(p)
	if serr != nil {
		return n, after, remoteError("read", in.Path, serr)
	}
	return n, remoteInfo(fi), err
}

func (r *dirRemote) WriteFrom(ctx context.Context, path string, spans []uftp.WriteSpan, fill func(p []byte, off int64) error) (after uftp.Info, err error) {
	p, err := r.local(ctx, "write", path)
	if err == nil {
		err = need(p, 0o200)
	}
	if err != nil {
		return after, remoteError("write", path, err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return after, remoteError("write", path, err)
	}
	for _, sp := range spans {
		data := make([]byte, sp.Len)
		if err := fill(data, sp.Off); err != nil {
			return after, errors.Join(err, f.Close())
		}
		_, werr := f.WriteAt(data, sp.Off)
		err = errors.Join(err, werr)
	}
	if err := remoteError("write", path, errors.Join(err, f.Close())); err != nil {
		return after, err
	}
	if _, err = r.local(ctx, "written", path); err != nil {
		return after, err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return after, remoteError("write", path, err)
	}
	return remoteInfo(fi), nil
}

func (r *dirRemote) Hash(ctx context.Context, path, algo string, off, n int64) (string, error) {
	p, err := r.local(ctx, "hash", path)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return "", remoteError("hash", path, err)
	}
	b = b[min(off, int64(len(b))):min(off+n, int64(len(b)))]
	switch algo {
	case "MD5":
		return fmt.Sprintf("%x", md5.Sum(b)), nil
	case "SHA-256":
		return fmt.Sprintf("%x", sha256.Sum256(b)), nil
	}
	return "", &uftp.Error{Op: "hash", Path: path, Err: errors.ErrUnsupported}
}

func (r *dirRemote) Create(ctx context.Context, path string) (uftp.Info, error) {
	p, err := r.local(ctx, "create", path)
	if err == nil {
		err = need(p, 0o200)
	}
	if err != nil {
		return uftp.Info{}, remoteError("create", path, err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return uftp.Info{}, remoteError("create", path, err)
	}
	return r.Stat(ctx, path)
}

func (r *dirRemote) Truncate(ctx context.Context, path string, size int64) error {
	p, err := r.local(ctx, "truncate", path)
	if err == nil {
		err = need(p, 0o200)
	}
	if err != nil {
		return remoteError("truncate", path, err)
	}
	fi, err := os.Stat(p)
	if err != nil {
		return remoteError("truncate", path, err)
	}
	if size == 0 || size > fi.Size() {
		return remoteError("truncate", path, os.Truncate(p, size))
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return remoteError("truncate", path, err)
	}
	tmp := p + ".truncating"
	err = os.WriteFile(tmp, b[:size], 0o600)
	err = errors.Join(err, os.Chmod(tmp, fi.Mode()), os.Rename(tmp, p))
	return remoteError("truncate", path, err)
}

func (r *dirRemote) NewDir(ctx context.Context, path string) (uftp.Info, error) {
	return r.made(ctx, "mkdir", path, func(p string) error { return os.Mkdir(p, 0o755) })
}

func (r *dirRemote) Rmdir(ctx context.Context, path string) error {
	return r.do(ctx, "rmdir", path, syscall.Rmdir)
}

func (r *dirRemote) Remove(ctx context.Context, path string) error {
	return r.do(ctx, "remove", path, syscall.Unlink)
}

func (r *dirRemote) Rename(ctx context.Context, from, to string) error {
	return r.do(ctx, "rename", from, func(p string) error {
		return syscall.Rename(p, filepath.Join(r.root, to))
	})
}

func (r *dirRemote) SetAttr(ctx context.Context, path string, a uftp.Attr) (uftp.Info, error) {
	return r.made(ctx, "setattr", path, func(p string) (err error) {
		if a.SetMode {
			err = os.Chmod(p, a.Mode)
		}
		if mtime := a.ModTime.Truncate(time.Second); err == nil && !a.ModTime.IsZero() {
			err = os.Chtimes(p, mtime, mtime)
		}
		return err
	})
}

// made is do for what tells the result.
func (r *dirRemote) made(ctx context.Context, op, path string, f func(string) error) (uftp.Info, error) {
	if err := r.do(ctx, op, path, f); err != nil {
		return uftp.Info{}, err
	}
	fi, err := os.Stat(filepath.Join(r.root, path))
	if err != nil {
		return uftp.Info{}, remoteError(op, path, err)
	}
	return remoteInfo(fi), nil
}

func (r *dirRemote) do(ctx context.Context, op, path string, f func(string) error) error {
	p, err := r.local(ctx, op, path)
	if err == nil {
		err = remoteError(op, path, f(p))
	}
	return err
}
