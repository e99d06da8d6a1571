package uftpfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Write implements [io.Writer]. The data is written behind: nil means that it is
// on its way.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(true); err != nil {
		return 0, f.fail("write", err)
	}
	n := 0
	for n < len(p) {
		room, err := f.room()
		if err != nil {
			return n, f.fail("write", err)
		}
		k := copy(room, p[n:])
		f.wrote(k)
		n += k
	}
	return n, nil
}

// WriteString implements [io.StringWriter].
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// ReadFrom implements [io.ReaderFrom]: it reads while it writes.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(true); err != nil {
		return 0, f.fail("write", err)
	}
	var sum int64
	for empty := 0; ; {
		room, err := f.room()
		if err != nil {
			return sum, f.fail("write", err)
		}
		n, err := r.Read(room)
		f.wrote(n)
		sum += int64(n)
		if empty++; n > 0 {
			empty = 0
		}
		switch {
		case err == io.EOF: //nolint:errorlint // exactly io.EOF, as readers have it
			return sum, nil
		case err != nil:
			return sum, err
		case empty > 100:
			return sum, io.ErrNoProgress
		}
	}
}

// room returns where the next bytes go.
func (f *File) room() ([]byte, error) {
	if f.flag&os.O_APPEND != 0 {
		f.pos = f.info.Size
	}
	return f.behind.room(f.pos)
}

// wrote says that n bytes were put there.
func (f *File) wrote(n int) {
	f.behind.add(n)
	f.pos += int64(n)
	f.info.Size = max(f.info.Size, f.pos)
	f.ahead.drop()
}

// WriteAt implements [io.WriterAt]. The server has the data when it returns.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	err := f.begin(true)
	switch {
	case err != nil:
	case f.flag&os.O_APPEND != 0:
		err = fmt.Errorf("%w: WriteAt on a file opened to append", fs.ErrInvalid)
	case off < 0:
		err = fs.ErrInvalid
	}
	f.ahead.drop()
	f.mu.Unlock()
	if err != nil {
		return 0, f.fail("write", err)
	}
	n, err := f.fs.client.WriteAt(f.ctx, f.path, p, off)
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 {
		f.info.Size = max(f.info.Size, off+int64(n))
	}
	f.ahead.drop() // what was read ahead meanwhile
	return n, f.fail("write", err)
}

// Sync waits until the server has what was written. The protocol has no word for
// making it write that to its disk.
func (f *File) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.fail("sync", fs.ErrClosed)
	}
	return f.fail("sync", f.behind.flush())
}

// Truncate gives the file the size; see [uftp.Client.Truncate] for what it costs.
func (f *File) Truncate(size int64) error {
	const op = "truncate"
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(true); err != nil {
		return f.fail(op, err)
	}
	f.ahead.drop()
	if err := f.fs.client.Truncate(f.ctx, f.path, size); err != nil {
		return f.fail(op, err)
	}
	f.info.Size = size
	return nil
}
