package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// opGetShared is the Op of errors of [GetShared].
const opGetShared = "get shared file"

// endOfFile ends a range that goes to the end of the file. The service takes no
// range without an end, and needs one to say how long the file is.
const endOfFile = 1<<62 - 1

// maxResumes is how often a download is taken up again without a byte coming.
const maxResumes = 4

// A SharedFile is what is shared, on its way over HTTPS. It is for one goroutine.
type SharedFile struct {
	Name string // as the service has it, without directories; "" if it does not say
	Size int64  // of the whole file, -1 if the service does not say

	ctx      context.Context // of the transfer, which this is
	request  AuthRequest
	pos, end int64 // what is read next, and what is not any more; end may be -1
	want     int64 // the last byte that was asked for
	parts    bool  // the service sends parts of files
	fails    int   // in a row
	body     *httpStream
}

// GetShared opens a shared file over HTTPS (GET /rest/access/NAME/ID) for reading
// n bytes from off on; n < 0 is up to its end. r.AuthURL is the HTTPURL of a
// [Share], with the path of a file behind it if that is a directory. Reading goes
// through the auth service, slower than a [Client] with the share's UFTPURL, but
// nothing else needs to be reachable.
//
// Read takes an interrupted transfer up again where it ended, and fails with
// [ErrUnavailable] rather than end before the file does, if the service says how
// long that is. A share that is deleted when it is used cannot be taken up again.
//
// Errors are those of [Authenticate], with [ErrAuth] also for what is not shared
// with whom r.Access is, fs.ErrNotExist for what is not there, and
// [syscall.EISDIR] for a directory. HTTPTimeout bounds the silences.
func GetShared(ctx context.Context, r AuthRequest, off, n int64) (*SharedFile, error) {
	failed := exchange{op: opGetShared, path: safeURLText(r.AuthURL)}
	_, err := parseShareURL(r.AuthURL)
	if err == nil && (off < 0 || n > math.MaxInt64-off || n == 0) {
		err = invalidAuthf("range of %d bytes at %d", n, off)
	}
	if err == nil {
		err = checkPreferences(r.UserPreferences)
	}
	if err != nil {
		return nil, failed.fail(err, 0, "")
	}
	f := &SharedFile{ctx: ctx, request: r, pos: off, end: -1, Size: -1, want: endOfFile}
	if n > 0 {
		f.want = min(endOfFile, off+n-1)
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open asks for what has not been read.
func (f *SharedFile) open() error {
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", f.pos, f.want)}}
	s, err := f.request.stream(f.ctx, opGetShared, http.MethodGet, nil, header)
	if err != nil {
		return err
	}
	if err := f.accept(s); err != nil {
		s.close()
		return err
	}
	f.body = s
	return nil
}

// accept looks at the head of an answer.
func (f *SharedFile) accept(s *httpStream) error {
	h := s.res.Header
	start, size, ranged := contentRange(h.Get("Content-Range"))
	switch {
	case s.res.StatusCode == http.StatusPartialContent && ranged && start == f.pos:
		f.parts = true
	case s.res.StatusCode == http.StatusRequestedRangeNotSatisfiable && size >= 0 && f.pos >= size:
		f.parts = true
		_ = s.res.Body.Close()
		s.res.Body = http.NoBody
	case s.res.StatusCode == http.StatusPartialContent:
		return s.ex.fail(fmt.Errorf("%w: the service sends another part than it was asked for", ErrProtocol), s.res.StatusCode, "")
	case s.res.StatusCode != http.StatusOK:
		return s.refused(func(said string) error {
			return fmt.Errorf("%w: this is not shared with %s", ErrAuth, s.ex.who)
		})
	case isListing(h):
		return s.ex.fail(fmt.Errorf("%w: name a file in it, or use the share's UFTP URL", syscall.EISDIR), 0, "")
	case f.pos > 0:
		return s.ex.fail(fmt.Errorf("%w: the service sends no parts of files", errors.ErrUnsupported), 0, "")
	default:
		size = s.res.ContentLength
	}
	if f.Size >= 0 && size != f.Size {
		return s.ex.fail(fmt.Errorf("%w: the file changed while it was read: it has %d bytes now, and had %d", syscall.ESTALE, size, f.Size), 0, "")
	}
	f.Size, f.end = size, -1
	if size >= 0 {
		f.end = max(f.pos, min(size, f.want+1))
	}
	if _, params, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil && f.Name == "" {
		f.Name = safeName(params["filename"])
	}
	return nil
}

// isListing reports whether an answer is the service's page about a directory.
func isListing(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "text/html" && h.Get("Content-Disposition") == ""
}

// safeName is the last element of a name from outside, or nothing.
func safeName(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	if name == "." || name == ".." || hasControlChar(name) {
		return ""
	}
	return name
}

// contentRange reads "bytes FIRST-LAST/SIZE", or "bytes */SIZE". The LAST that the
// service says is not to be trusted.
func contentRange(text string) (start, size int64, ok bool) {
	span, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	if !ok || !strings.HasPrefix(text, "bytes ") {
		return 0, -1, false
	}
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || size < 0 {
		size = -1
	}
	first, _, _ := strings.Cut(span, "-")
	start, err = strconv.ParseInt(first, 10, 64)
	return start, size, err == nil
}

// Read implements io.Reader.
func (f *SharedFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if f.end >= 0 {
			p = p[:min(int64(len(p)), f.end-f.pos)]
		}
		n, err := 0, io.EOF
		if len(p) > 0 {
			n, err = f.body.Read(p)
		}
		f.pos += int64(n)
		switch {
		case n > 0:
			f.fails = 0
			return n, nil // an error comes again
		case err == nil:
			return 0, nil
		case errors.Is(err, io.EOF) && (f.end < 0 || f.pos == f.end):
			return 0, io.EOF
		}
		if err := f.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume goes on with another request after err.
func (f *SharedFile) resume(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	cause := f.body.failure(err)
	f.body.close()
	for f.parts && f.fails < maxResumes && f.ctx.Err() == nil {
		f.fails++
		if pause(f.ctx, backoff(f.fails)) != nil {
			break
		}
		again := f.open()
		if again == nil || errors.Is(again, syscall.ESTALE) {
			return again
		}
		if !retryable(again) {
			break // a share that is gone: what went wrong came before
		}
	}
	return cause
}

// Close ends the transfer.
func (f *SharedFile) Close() error {
	f.body.close()
	return nil
}

// refusalOf is what a service that talks to UFTPD for us says of it.
func refusalOf(said string) error {
	if n, ok := errnoIn(said); ok {
		return causeOfErrno(n)
	}
	if strings.Contains(said, textNoFile) {
		return fs.ErrNotExist
	}
	return nil
}
