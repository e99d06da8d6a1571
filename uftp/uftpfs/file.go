package uftpfs

import (
	"context"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// What a File is beside an [fs.File].
var (
	_ fs.ReadDirFile  = (*File)(nil)
	_ io.ReaderAt     = (*File)(nil)
	_ io.Seeker       = (*File)(nil)
	_ io.WriterTo     = (*File)(nil)
	_ io.WriterAt     = (*File)(nil)
	_ io.ReaderFrom   = (*File)(nil)
	_ io.StringWriter = (*File)(nil)
)

// A File is an open file or directory. Read and Write move data ahead of the
// reader and behind the writer; an error of what is written behind comes from a
// later Write, from Sync, or from Close, which must be asked. The server opens
// the file again for each piece: what others write to it meanwhile is seen.
type File struct {
	fs       *FS
	name     string
	path     string // the client's
	flag     int
	ctx      context.Context // of all operations; Close ends it
	cancel   context.CancelFunc
	transfer sync.WaitGroup // goroutines that read ahead or write behind

	mu      sync.Mutex // guards the following; held across the network by what moves pos
	info    uftp.Info  // the size is what we know of it, our own writes included
	pos     int64
	ahead   readAhead
	behind  writeBehind
	entries []fs.DirEntry // not yet returned by ReadDir
	listed  bool
	closed  bool
}

func newFile(f *FS, name, p string, flag int, info uftp.Info) *File {
	file := &File{fs: f, name: name, path: p, flag: flag, info: info}
	file.ctx, file.cancel = context.WithCancel(f.ctx)
	file.ahead = readAhead{file: file}
	file.behind = writeBehind{file: file}
	return file
}

// Name is the name that the file was opened with.
func (f *File) Name() string { return f.name }

// check reports whether an operation is possible at all. f.mu is held.
func (f *File) check(write bool) error {
	access := f.flag & (os.O_WRONLY | os.O_RDWR)
	switch {
	case f.closed:
		return fs.ErrClosed
	case f.info.IsDir():
		return syscall.EISDIR
	case write && access == os.O_RDONLY, !write && access == os.O_WRONLY:
		return syscall.EBADF
	}
	return nil
}

// begin is check, and what was written before is on the server after it.
func (f *File) begin(write bool) error {
	if err := f.check(write); err != nil {
		return err
	}
	return f.behind.flush()
}

// fail makes err one of this file; io.EOF stays what it is.
func (f *File) fail(op string, err error) error {
	if err == io.EOF { //nolint:errorlint // exactly io.EOF, as readers have it
		return err
	}
	return fail(op, f.name, err)
}

// Stat implements [fs.File]. It asks the server, after writing what is not yet
// written.
func (f *File) Stat() (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, f.fail("stat", fs.ErrClosed)
	}
	if err := f.behind.flush(); err != nil {
		return nil, f.fail("stat", err)
	}
	info, err := f.fs.client.Stat(f.ctx, f.path)
	if err != nil {
		return nil, f.fail("stat", err)
	}
	f.info.Size = info.Size
	return named(info, f.name), nil
}

// Read implements [io.Reader]. It is io.ErrUnexpectedEOF if the file has become
// shorter than it was.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(false); err != nil || len(p) == 0 {
		return 0, f.fail("read", err)
	}
	data, err := f.ahead.at(f.pos)
	n := copy(p, data)
	f.pos += int64(n)
	return n, f.fail("read", err)
}

// WriteTo implements [io.WriterTo].
func (f *File) WriteTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(false); err != nil {
		return 0, f.fail("read", err)
	}
	f.ahead.hurry()
	var sum int64
	for {
		data, err := f.ahead.at(f.pos)
		switch {
		case err == io.EOF: //nolint:errorlint // exactly io.EOF, as readers have it
			return sum, nil
		case err != nil:
			return sum, f.fail("read", err)
		}
		n, err := w.Write(data)
		n = max(0, min(n, len(data)))
		f.pos += int64(n)
		sum += int64(n)
		switch {
		case err != nil:
			return sum, err
		case n < len(data):
			return sum, io.ErrShortWrite
		}
	}
}

// ReadAt implements [io.ReaderAt]: one transfer, nothing ahead of it.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	err := f.begin(false)
	f.mu.Unlock()
	if err == nil && off < 0 {
		err = fs.ErrInvalid
	}
	if err != nil {
		return 0, f.fail("read", err)
	}
	n, err := f.fs.client.ReadAt(f.ctx, f.path, p, off)
	return n, f.fail("read", err)
}

// Seek implements [io.Seeker]. The end is where the server has it now.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	const op = "seek"
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return 0, f.fail(op, fs.ErrClosed)
	case f.info.IsDir():
		if offset != 0 || whence != io.SeekStart {
			return 0, f.fail(op, fs.ErrInvalid)
		}
		f.listed, f.entries = false, nil // begin again
		return 0, nil
	}
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.pos
	case io.SeekEnd:
		if err := f.refresh(); err != nil {
			return 0, f.fail(op, err)
		}
		base = f.info.Size
	default:
		return 0, f.fail(op, fs.ErrInvalid)
	}
	if offset < -base || offset > math.MaxInt64-base {
		return 0, f.fail(op, fs.ErrInvalid)
	}
	f.pos = base + offset
	return f.pos, nil
}

// refresh asks for the size, with what was written before.
func (f *File) refresh() error {
	if err := f.behind.flush(); err != nil {
		return err
	}
	info, err := f.fs.client.Stat(f.ctx, f.path)
	if err == nil {
		f.info.Size = info.Size
	}
	return err
}

// ReadDir implements [fs.ReadDirFile].
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	const op = "readdir"
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, f.fail(op, fs.ErrClosed)
	case !f.info.IsDir():
		return nil, f.fail(op, syscall.ENOTDIR)
	}
	if !f.listed {
		entries, err := f.fs.list(f.path)
		if err != nil {
			return nil, f.fail(op, err)
		}
		f.entries, f.listed = entries, true
	}
	if n <= 0 {
		n = len(f.entries)
	} else if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	entries := f.entries[:n:n]
	f.entries = f.entries[n:]
	return entries, nil
}

// Close implements [fs.File]. It returns the error of what was written behind
// and not reported before.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	err := f.behind.flush()
	f.closed = true
	f.cancel()
	f.transfer.Wait()
	f.ahead.drop()
	return f.fail("close", err)
}
