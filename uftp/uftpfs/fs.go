package uftpfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// The interfaces of [io/fs] that an FS has.
var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.SubFS      = (*FS)(nil)
)

// DefaultUmask is what the permissions given to [FS.Mkdir] and [FS.OpenFile] lose
// unless the FS has another [FS.WithUmask].
const DefaultUmask fs.FileMode = 0o022

// An FS is a directory on a UFTP server. Names are as [fs.ValidPath] has them,
// and are refused with fs.ErrInvalid where the protocol cannot carry them: CR,
// LF and NUL. Symbolic links are followed by the server and never seen.
//
// Errors are of type [*fs.PathError] around the client's [*uftp.Error].
type FS struct {
	ctx    context.Context // of all operations: the interfaces of io/fs pass none
	client *uftp.Client
	dir    string // "." or a path below the client's base directory
	umask  fs.FileMode
	close  func() error
}

// New returns the file system of a client's base directory. Its operations end
// with ctx. The client stays the caller's to close.
func New(ctx context.Context, client *uftp.Client) *FS {
	return &FS{ctx: ctx, client: client, dir: ".", umask: DefaultUmask, close: func() error { return nil }}
}

// WithContext returns the same file system, whose operations end with ctx
// instead. Files that are open keep theirs.
func (f *FS) WithContext(ctx context.Context) *FS {
	g := *f
	g.ctx = ctx
	return &g
}

// WithUmask returns the same file system with another umask.
func (f *FS) WithUmask(umask fs.FileMode) *FS {
	g := *f
	g.umask = umask
	return &g
}

// Client returns the client, for what a file system has no words for.
func (f *FS) Client() *uftp.Client { return f.client }

// Close ends the client of an FS that [OpenURL] returned, and so the operations
// of all that came from it. Of another FS it does nothing.
func (f *FS) Close() error { return f.close() }

// path returns the client's path for a name.
func (f *FS) path(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(f.dir, name), nil
}

// fail makes err one about a name of this file system.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	// The way to the server has paths and words of its own.
	if e, ok := errors.AsType[*uftp.Error](err); ok && e.Op != "connect" && e.Op != "authenticate" {
		about := *e
		about.Path = ""
		err = &about
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements [fs.FS]. The file is a [*File].
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err // and no *File in the interface
	}
	return file, nil
}

// Stat implements [fs.StatFS]. The Sys method of what it returns gives the
// [uftp.Info]. One round trip.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	p, err := f.path("stat", name)
	if err != nil {
		return nil, err
	}
	info, err := f.client.Stat(f.ctx, p)
	if err != nil {
		return nil, fail("stat", name, err)
	}
	return named(info, name), nil
}

// ReadDir implements [fs.ReadDirFS]. Names that the protocol cannot carry, and
// links that lead nowhere, are left out. Two round trips.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := f.path("readdir", name)
	if err != nil {
		return nil, err
	}
	entries, err := f.list(p)
	return entries, fail("readdir", name, err)
}

// list returns the sorted entries of a directory.
func (f *FS) list(p string) ([]fs.DirEntry, error) {
	infos, err := f.client.List(f.ctx, p)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(infos, func(a, b uftp.Info) int { return strings.Compare(a.Name, b.Name) })
	entries := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		entries[i] = fs.FileInfoToDirEntry(fileInfo{info})
	}
	return entries, nil
}

// maxTrusted is how much memory is taken on the word of a server.
const maxTrusted = 64 << 20

// ReadFile implements [fs.ReadFileFS]. The content is that of one version of the
// file, read in one transfer.
func (f *FS) ReadFile(name string) (data []byte, err error) {
	const op = "read"
	p, err := f.path(op, name)
	if err != nil {
		return nil, err
	}
	r, info, err := f.client.Get(f.ctx, p)
	if err != nil {
		return nil, fail(op, name, err)
	}
	defer func() { err = fail(op, name, errors.Join(err, r.Close())) }()
	// The size is what the server says: a buffer for all of it, and for seeing the
	// end, as long as that is no risk.
	buf := bytes.NewBuffer(make([]byte, 0, min(info.Size, maxTrusted)+bytes.MinRead))
	_, err = buf.ReadFrom(r)
	return buf.Bytes(), err
}

// Sub implements [fs.SubFS]. As with [os.DirFS] the directory need not exist.
func (f *FS) Sub(dir string) (fs.FS, error) {
	g, err := f.SubFS(dir)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// SubFS is [FS.Sub] with the type that can write.
func (f *FS) SubFS(dir string) (*FS, error) {
	p, err := f.path("sub", dir)
	if err != nil {
		return nil, err
	}
	g := *f
	g.dir = p
	return &g, nil
}

// closeOnce is a client's Close that may be called again.
func closeOnce(client *uftp.Client) func() error { return sync.OnceValue(client.Close) }
