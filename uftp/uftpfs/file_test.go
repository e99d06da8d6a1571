package uftpfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestRead(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(20<<20+17, 1)
		s.WriteFile(t, "big", data)
		f := open(t, s)
		for name, read := range map[string]func(*uftpfs.File) ([]byte, error){
			"whole":       func(f *uftpfs.File) ([]byte, error) { return io.ReadAll(f) },
			"small reads": func(f *uftpfs.File) ([]byte, error) { return io.ReadAll(onlyReader{f, 4000}) },
			"writer to": func(f *uftpfs.File) ([]byte, error) {
				var b bytes.Buffer
				_, err := f.WriteTo(&b)
				return b.Bytes(), err
			},
			"section":      func(f *uftpfs.File) ([]byte, error) { return io.ReadAll(io.NewSectionReader(f, 0, 1<<30)) },
			"head, whole":  func(f *uftpfs.File) ([]byte, error) { return headAndAll(f) },
			"with hiccups": func(f *uftpfs.File) ([]byte, error) { return io.ReadAll(iotest.HalfReader(f)) },
		} {
			t.Run(name, func(t *testing.T) {
				file := ok[fs.File](t)(f.Open("big")).(*uftpfs.File)
				got, err := read(file)
				check(t, err)
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes, wrong ones", len(got))
				}
				check(t, file.Close())
			})
		}
		got := ok[[]byte](t)(f.ReadFile("big"))
		if !bytes.Equal(got, data) {
			t.Error("ReadFile is wrong")
		}
	})
}

// onlyReader hides what a File has beside Read.
type onlyReader struct {
	r io.Reader
	n int
}

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(o.n, len(p))]) }

func headAndAll(f *uftpfs.File) ([]byte, error) {
	if _, err := io.ReadFull(f, make([]byte, 1<<20)); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// TestReader is the standard library's idea of a reader that can seek.
func TestReader(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(3000, 2) // of which each byte is read alone
		s.WriteFile(t, "f", data)
		file := ok[fs.File](t)(open(t, s).Open("f"))
		if err := iotest.TestReader(file, data); err != nil {
			t.Error(err)
		}
		check(t, file.Close())
	})
}

// TestSequentialTrips checks that small reads in sequence are not small requests.
func TestSequentialTrips(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(64<<20, 3)
	s.WriteFile(t, "f", data)
	f := open(t, s)
	check(t, f.Client().Connect(t.Context()))
	before := f.Client().Stats().RoundTrips
	file := ok[fs.File](t)(f.Open("f"))
	n := ok[int64](t)(io.Copy(io.Discard, onlyReader{file, 4096}))
	if n != int64(len(data)) {
		t.Error(n)
	}
	check(t, file.Close())
	if trips := f.Client().Stats().RoundTrips - before; trips > 120 {
		t.Errorf("%d round trips for 16384 reads", trips)
	}
}

func TestGrowingAndShrinking(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "f", []byte("12345"))
		s.WriteFile(t, "g", pattern(1<<20, 1))
		f := open(t, s)
		file := ok[fs.File](t)(f.Open("f"))
		if got := ok[[]byte](t)(io.ReadAll(file)); string(got) != "12345" {
			t.Errorf("%q", got)
		}
		s.WriteFile(t, "f", []byte("1234567"))
		if got := ok[[]byte](t)(io.ReadAll(file)); string(got) != "67" {
			t.Errorf("what was added: %q", got)
		}
		check(t, file.Close())

		file = ok[fs.File](t)(f.Open("g"))
		check(t, os.Truncate(filepath.Join(s.Dir(), "g"), 100<<10))
		got, err := io.ReadAll(file)
		if len(got) > 1<<20 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("of a file that became shorter: %d bytes, %v", len(got), err)
		}
		check(t, file.Close())
	})
}

// TestWrite does the same to a file here and to one there.
func TestWrite(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		f := open(t, s)
		remote := ok[*uftpfs.File](t)(f.Create("f"))
		want := ok[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "f")))
		t.Cleanup(func() { check(t, want.Close()) })
		type file interface {
			io.ReadWriteSeeker
			io.ReaderAt
			io.WriterAt
			Truncate(int64) error
		}
		r := rand.New(rand.NewPCG(1, 2)) // the same each time
		for range 300 {
			op, off, n, whence := r.IntN(8), r.Int64N(300<<10), r.IntN(100<<10), r.IntN(3)
			var a, b result
			for _, side := range []struct {
				f   file
				res *result
			}{{remote, &a}, {want, &b}} {
				*side.res = step(side.f, op, off, n, whence)
			}
			if a.n != b.n || !bytes.Equal(a.data, b.data) || (a.err == nil) != (b.err == nil) {
				t.Fatalf("step %d(%d, %d, %d): %d, %v; want %d, %v", op, off, n, whence, a.n, a.err, b.n, b.err)
			}
		}
		check(t, remote.Close())
		if got := onServer(t, s, "f"); !bytes.Equal(got, ok[[]byte](t)(os.ReadFile(want.Name()))) {
			t.Error("the files differ in the end")
		}
	})
}

type result struct {
	n    int64
	data []byte
	err  error
}

func step(f interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	Truncate(int64) error
}, op int, off int64, n, whence int) result {
	switch op {
	case 0, 1, 2:
		k, err := f.Write(pattern(n, byte(off)))
		return result{n: int64(k), err: err}
	case 3:
		k, err := f.WriteAt(pattern(n, byte(n)), off)
		return result{n: int64(k), err: err}
	case 4:
		p := make([]byte, n)
		k, err := f.ReadAt(p, off)
		return result{int64(k), p[:k], err}
	case 5:
		p, err := io.ReadAll(io.LimitReader(f, int64(n)))
		return result{int64(len(p)), p, err}
	case 6:
		k, err := f.Seek(off/2, whence)
		return result{n: k, err: err}
	default:
		return result{err: f.Truncate(off)}
	}
}

func TestReadFrom(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		f := open(t, s)
		data := pattern(19<<20+5, 4)
		file := ok[*uftpfs.File](t)(f.Create("f"))
		if n := ok[int64](t)(file.ReadFrom(bytes.NewReader(data))); n != int64(len(data)) {
			t.Error(n)
		}
		check(t, file.Sync())
		if !bytes.Equal(onServer(t, s, "f"), data) {
			t.Error("the file is wrong")
		}
		_, err := file.ReadFrom(iotest.ErrReader(io.ErrNoProgress))
		if !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
		check(t, file.Close())
	})
}

func TestAppend(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", []byte("12"))
	file := ok[*uftpfs.File](t)(open(t, s).OpenFile("f", os.O_RDWR|os.O_APPEND, 0))
	ok[int](t)(file.WriteString("34"))
	ok[int64](t)(file.Seek(0, io.SeekStart))
	ok[int](t)(file.WriteString("56"))
	_, err := file.WriteAt([]byte("x"), 0)
	wantErr(t, err, fs.ErrInvalid)
	check(t, file.Close())
	if got := onServer(t, s, "f"); string(got) != "123456" {
		t.Errorf("%q", got)
	}
}

// TestWriteBehindFails checks that an error behind the writer reaches it.
func TestWriteBehindFails(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "d/f", nil)
	f := open(t, s)
	file := ok[*uftpfs.File](t)(f.OpenFile("d/f", os.O_WRONLY, 0))
	check(t, os.RemoveAll(filepath.Join(s.Dir(), "d")))
	ok[int](t)(file.WriteString(strings.Repeat("x", 100)))
	wantErr(t, file.Close(), fs.ErrNotExist)

	s.WriteFile(t, "e/f", nil)
	file = ok[*uftpfs.File](t)(f.OpenFile("e/f", os.O_WRONLY, 0))
	check(t, os.RemoveAll(filepath.Join(s.Dir(), "e")))
	_, err := file.ReadFrom(bytes.NewReader(pattern(30<<20, 5)))
	wantErr(t, err, fs.ErrNotExist)
	wantErr(t, file.Close(), fs.ErrNotExist)
}

// TestManyOpenFiles checks that open files hold no sessions.
func TestManyOpenFiles(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 2})
	data := pattern(3<<20, 6)
	s.WriteFile(t, "f", data)
	f := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	var files []*uftpfs.File
	for range 20 {
		file := ok[fs.File](t)(f.Open("f")).(*uftpfs.File)
		ok[int](t)(io.ReadFull(file, make([]byte, 300<<10)))
		files = append(files, file)
	}
	for _, file := range files {
		rest := ok[[]byte](t)(io.ReadAll(file))
		if !bytes.Equal(rest, data[300<<10:]) {
			t.Error("wrong bytes")
		}
		check(t, file.Close())
	}
}
