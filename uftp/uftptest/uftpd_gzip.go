package uftptest

import (
	"compress/gzip"
	"errors"
	"io"
)

// A compressed stream is a gzip stream in each direction.
type compressed struct {
	stream
	writing bool // no read yet, so that close writes the trailer
	writer  *gzipWriter
	reader  gzipReader
}

func newCompressed(to stream) *compressed {
	return &compressed{stream: to, writing: true, writer: newGzipWriter(to), reader: gzipReader{src: feed{from: to}}}
}

func (c *compressed) write(p []byte) error { return c.writer.write(p) }

func (c *compressed) read(n int) ([]byte, error) {
	c.writing = false
	return c.reader.read(n)
}

func (c *compressed) close() {
	if c.writing {
		_ = c.writer.finish()
	}
	c.stream.close()
}

// writerFunc lets a stream be written to as an [io.Writer].
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

type gzipWriter struct {
	z    *gzip.Writer
	done bool
}

func newGzipWriter(to stream) *gzipWriter {
	return &gzipWriter{z: gzip.NewWriter(writerFunc(to.write))}
}

func (w *gzipWriter) write(p []byte) error {
	_, err := w.z.Write(p)
	return err
}

// flush sends all that was written, without ending the stream.
func (w *gzipWriter) flush() error { return w.z.Flush() }

func (w *gzipWriter) finish() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.z.Close()
}

// A gzipReader asks its source for as many compressed bytes as plain ones are
// missing, so that short contents come only when the client ends the stream. A
// stream that ends too early is as good as one that ends well.
type gzipReader struct {
	src  feed
	z    *gzip.Reader
	over bool // the gzip stream has ended; what follows is read and ignored
	buf  []byte
}

func (r *gzipReader) read(n int) ([]byte, error) {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	have := 0
	for have < n {
		r.src.want = n - have
		got, err := r.decode(r.buf[have:n])
		have += got
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return r.buf[:have], nil
}

// decode reads plain bytes. Its io.EOF is that of the source.
func (r *gzipReader) decode(p []byte) (int, error) {
	if r.over {
		_, err := io.Copy(io.Discard, &r.src)
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	if r.z == nil {
		z, err := gzip.NewReader(&r.src)
		if err != nil {
			return 0, gzipError(err)
		}
		z.Multistream(false)
		r.z = z
	}
	n, err := r.z.Read(p)
	if errors.Is(err, io.EOF) {
		r.over = true
		return n, nil
	}
	return n, gzipError(err)
}

// gzipError makes an early end a plain end, and a broken stream zlib's error.
func gzipError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case errors.Is(err, gzip.ErrHeader):
		return raise("Error -3 while decompressing data: incorrect header check")
	}
	return raise("Error -3 while decompressing data: %s", err)
}

// A feed hands out the bytes of a stream, which it reads want at a time.
type feed struct {
	from stream
	want int
	left []byte
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.left) == 0 {
		data, err := f.from.read(max(f.want, 1))
		if err != nil {
			return 0, err
		}
		if len(data) == 0 {
			return 0, io.EOF
		}
		f.left = append(f.left[:0], data...)
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}
