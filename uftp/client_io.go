package uftp

import (
	"context"
	"fmt"
	"io/fs"
	"math"
)

// ReadAt reads len(p) bytes at off, by the rules of [io.ReaderAt]: fewer only
// with an error, [io.EOF] itself if the file ends before. Up to 1 MiB is from one
// version of the file, opened once by the server; more is read in several ranges
// at a time. Calls from many goroutines share few sessions, with many ranges on
// their way.
func (c *Client) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	clean, err := checkRange(path, len(p), off)
	if err != nil {
		return 0, wrapError(opRead, path, err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !c.dialer.coding.plain() {
		n, _, err := c.codedFetch(ctx, clean, Read{Path: path, Off: off, Buf: p}, false)
		return n, err
	}
	n, _, err := c.fetch(ctx, operation{name: opRead, path: path}, clean, Read{Off: off, Buf: p}, false)
	return n, err
}

// A Read is what [Client.Fetch] reads.
type Read struct {
	Path string
	Off  int64
	Buf  []byte // filled from its beginning; the client's until Fetch returns
	// Ahead says that nobody waits for these bytes yet: they come after those
	// that somebody waits for.
	Ahead bool
	// Order says which of several reads of a file that are asked for side by side
	// comes first: that with the least.
	Order int64
}

// Fetch reads like [Client.ReadAt] and tells what the file was right after its
// bytes were read: name, size, modification time and access. The Mode of after
// is a guess from the access, as only the type is known. If the file is gone by
// then, the error says so, and n counts the bytes that were read nevertheless.
func (c *Client) Fetch(ctx context.Context, r Read) (n int, after Info, err error) {
	clean, err := checkRange(r.Path, len(r.Buf), r.Off)
	if err != nil {
		return 0, Info{}, wrapError(opRead, r.Path, err)
	}
	if !c.dialer.coding.plain() {
		return c.codedFetch(ctx, clean, r, true)
	}
	op := operation{name: opRead, path: r.Path}
	if len(r.Buf) == 0 {
		after, err = c.answer(ctx, op.name, op.path, &question{path: clean, brief: true})
		return 0, after, err
	}
	return c.fetch(ctx, op, clean, r, true)
}

// opRead is the Op of errors of reading.
const opRead = "read"

// WriteAt writes p at off. It creates the file if need be, never cuts it, and
// leaves a hole before an offset past its end. It returns len(p) when the server
// has written every byte, else 0 and the reason.
func (c *Client) WriteAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	clean, err := checkRange(path, len(p), off)
	if err != nil {
		return 0, wrapError(opWrite, path, err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(p) >= pipeFrom {
		if _, err := c.upload(ctx, path, &batch{parts: []part{{off: off, n: int64(len(p)), data: p}}}); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	err = c.do(ctx, operation{name: opWrite, path: path, data: true, writes: true, fills: clean}, func(s *session) error {
		if s.codec != nil {
			return s.writeCoded(clean, p, off)
		}
		return s.writeAt(clean, p, off)
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func checkRange(path string, n int, off int64) (string, error) {
	if off < 0 || off > math.MaxInt64-int64(n) {
		return "", fmt.Errorf("%w: offset %d", fs.ErrInvalid, off)
	}
	return cleanPath(path)
}

// Create makes an empty file, or an existing file empty, and returns what it is
// then. One round trip where there is a data connection.
func (c *Client) Create(ctx context.Context, path string) (Info, error) {
	p, err := cleanPath(path)
	if err != nil {
		return Info{}, wrapError("create", path, err)
	}
	var info Info
	op := operation{name: "create", path: path, data: true, writes: true, fills: p, settled: func(s *session) (bool, error) {
		info, err = s.stat(p)
		return absent(err, err == nil && !info.IsDir() && info.Size == 0, false)
	}}
	err = c.do(ctx, op, func(s *session) (err error) {
		if s.codec == nil {
			info, err = s.create(p)
			return err
		}
		if err := s.createCoded(p); err != nil {
			return err
		}
		info, err = s.stat(p)
		return err
	})
	if err == nil {
		c.dialer.seen.note(p, versionOf(info))
	}
	return info, err
}

// Hash returns the hash, in lower-case hex, of n bytes at off as the server
// computes it; n < 0 means up to the end. Servers know "MD5", "SHA-1", "SHA-256"
// and "SHA-512".
func (c *Client) Hash(ctx context.Context, path, algo string, off, n int64) (string, error) {
	p, err := checkRange(path, 0, off)
	if err == nil && n > math.MaxInt64-off || algo == "" || len(algo) > 20 {
		err = fmt.Errorf("%w: range or algorithm", fs.ErrInvalid)
	}
	for _, r := range algo {
		if r <= ' ' || r > '~' {
			err = fmt.Errorf("%w: algorithm", fs.ErrInvalid)
		}
	}
	if err != nil {
		return "", wrapError("hash", path, err)
	}
	var sum string
	err = c.do(ctx, operation{name: "hash", path: path}, func(s *session) error {
		sum, err = s.hash(p, algo, off, n)
		return err
	})
	return sum, err
}
