package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
)

// opPutShared is the Op of errors of [PutShared].
const opPutShared = "put shared file"

// PutShared writes all of content, size bytes or, if size < 0, up to its end, into
// a shared file over HTTPS (PUT /rest/access/NAME/ID); r.AuthURL is as for
// [GetShared]. A file in a shared directory is made if need be. What the file held
// is lost first; after an error it may hold a part, and a Read of content that was
// under way may still end.
//
// The size of what arrived is checked, unless the share was for one use. Errors
// are those of [GetShared], and fs.ErrPermission for a share that may not be
// written to.
func PutShared(ctx context.Context, r AuthRequest, content io.Reader, size int64) error {
	failed := exchange{op: opPutShared, path: safeURLText(r.AuthURL)}
	u, err := parseShareURL(r.AuthURL)
	if err == nil && u.Path[len(u.Path)-1] == '/' {
		err = invalidAuthf("the share's URL ends in a slash: name the file to write")
	}
	if err == nil {
		err = checkPreferences(r.UserPreferences)
	}
	if err != nil {
		return failed.fail(err, 0, "")
	}
	body := &httpUpload{from: content, size: size}
	s, err := r.stream(ctx, opPutShared, http.MethodPut, body, http.Header{"Content-Type": {"application/octet-stream"}})
	sent, rerr := body.end()
	if rerr != nil {
		if err == nil {
			s.close()
		}
		return failed.fail(fmt.Errorf("read source: %w", rerr), 0, "")
	}
	if err != nil {
		return err
	}
	defer s.close()
	if code := s.res.StatusCode; code < 200 || code > 299 {
		return s.refused(func(string) error {
			return fmt.Errorf("%w: this is not shared with %s for writing", fs.ErrPermission, s.ex.who)
		})
	}
	return checkShared(ctx, r, sent)
}

// checkShared compares the size of a file that was put.
func checkShared(ctx context.Context, r AuthRequest, sent int64) error {
	f, err := GetShared(ctx, r, 0, 1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the share was for one use
	case err != nil:
		return err
	}
	defer func() { _ = f.Close() }()
	if f.Size >= 0 && f.Size != sent {
		return exchange{op: opPutShared, path: safeURLText(r.AuthURL)}.fail(
			fmt.Errorf("%w: the file has %d bytes after writing %d", ErrUnavailable, f.Size, sent), 0, "")
	}
	return nil
}

// httpUpload is the body of a request. The transport may read and close it in
// goroutines of its own, also when it has returned.
type httpUpload struct {
	from io.Reader
	size int64 // -1 if it is not known
	tick func()

	mu     sync.Mutex
	n      int64
	err    error // of from
	closed bool
}

// Read implements io.Reader.
func (u *httpUpload) Read(p []byte) (int, error) {
	if u.isClosed() {
		return 0, fs.ErrClosed
	}
	n, err := u.from.Read(p)
	u.tick()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n += int64(n)
	switch {
	case errors.Is(err, io.EOF) && u.size >= 0 && u.n < u.size:
		err = fmt.Errorf("%w: it ends at %d, not %d", io.ErrUnexpectedEOF, u.n, u.size)
	case err == nil && u.size >= 0 && u.n > u.size:
		err = fmt.Errorf("%w: it is longer than %d", io.ErrShortWrite, u.size)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

func (u *httpUpload) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// Close implements io.Closer.
func (u *httpUpload) Close() error { return nil }

// end allows no further reads, and returns how much was read and what went wrong
// with that.
func (u *httpUpload) end() (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	return u.n, u.err
}
