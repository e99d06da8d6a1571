package uftptest

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
)

// tarRecord is the size in which Python reads a tar stream. It waits for a whole
// one, or for the end.
const tarRecord = 10240

// receiveArchive unpacks a tar stream into a directory: directories and regular
// files, without modes and times.
func (s *session) receiveArchive(dir string) error {
	s.untilEOF()
	if s.data == nil {
		return raise("nothing to open")
	}
	r := tar.NewReader(&recordReader{s: s})
	received := int64(0)
	for first := true; ; first = false {
		h, err := r.Next()
		if errors.Is(err, io.EOF) && !first {
			break
		}
		if err != nil {
			return tarError(err, first)
		}
		n, err := s.unpack(dir, h, r)
		received += n
		s.eng.counts.update(func(st *Stats) { st.BytesReceived += n })
		if err != nil {
			return err
		}
	}
	if err := s.transferred(); err != nil {
		return err
	}
	if !s.options.keepAlive {
		s.closeData()
	}
	return nil
}

// unpack makes one entry's file or directory.
func (s *session) unpack(dir string, h *tar.Header, r io.Reader) (int64, error) {
	name := h.Name
	if !path.IsAbs(name) {
		name = dir + "/" + name
	}
	p, err := s.abs(name)
	if err != nil {
		return 0, err
	}
	if h.Typeflag == tar.TypeDir {
		_ = os.MkdirAll(p, 0o777) //nolint:gosec // the mode directories have in the real one
		return 0, nil
	}
	_ = os.MkdirAll(path.Dir(p), 0o777)                                 //nolint:gosec // as above
	f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666) //nolint:gosec // as above
	if err != nil {
		return 0, osError(err, p)
	}
	defer func() { _ = f.Close() }()
	if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
		return 0, raise("cannot extract (sym)link as file object")
	}
	n, err := io.Copy(f, r)
	if err != nil {
		return n, tarError(err, false)
	}
	return n, nil
}

// tarError gives the errors of a tar stream Python's words.
func tarError(err error, first bool) error {
	var re *replyError
	switch {
	case errors.As(err, &re):
		return err
	case errors.Is(err, io.EOF) && first:
		return raise("empty file")
	case errors.Is(err, io.ErrUnexpectedEOF) && !first:
		return raise("unexpected end of data")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, tar.ErrHeader) && !first:
		return raise("truncated header")
	case errors.Is(err, tar.ErrHeader):
		return raise("invalid header")
	}
	return osError(err)
}

// A recordReader reads the data connection in whole tar records, as Python does,
// and hands out what comes of each, which may be more or less.
type recordReader struct {
	s    *session
	left []byte
}

func (r *recordReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 && len(p) > 0 {
		data, err := r.s.readData(tarRecord)
		if err != nil {
			return 0, err
		}
		if len(data) == 0 {
			return 0, io.EOF
		}
		r.left = append(r.left[:0], data...)
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
