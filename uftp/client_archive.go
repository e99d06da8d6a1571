package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// PutArchive unpacks a tar stream, which must not be compressed, into an existing
// directory: one transfer for any number of files. The server makes directories,
// replaces files, and knows neither modes nor times of the stream. It fails at
// links and at names that lead out of the base directory, and leaves then what it
// has made. It returns the number of bytes sent, and is repeated only as long as
// nothing was read from r.
func (c *Client) PutArchive(ctx context.Context, dir string, r io.Reader) (int64, error) {
	const op = "put archive"
	p, err := cleanPath(dir)
	if err != nil {
		return 0, wrapError(op, dir, err)
	}
	var n int64
	err = c.do(ctx, operation{name: op, path: dir, data: true, writes: true}, func(s *session) error {
		// The server would make a file of a name that is no directory.
		info, err := s.look(p)
		if err == nil && !info.IsDir() {
			err = &refusal{cause: syscall.ENOTDIR}
		}
		if err != nil {
			return err
		}
		var started bool
		n, started, err = s.putArchive(p, r)
		if err != nil && started {
			return &final{err}
		}
		return err
	})
	return n, err
}

// putArchive sends a tar stream. The session forgets about archives after it, or
// is closed.
func (s *session) putArchive(dir string, r io.Reader) (n int64, started bool, err error) {
	if err := s.do("TYPE ARCHIVE", 200); err != nil {
		return 0, false, err
	}
	n, started, err = s.storeArchive(dir, r)
	if err != nil && !isRefusal(err) {
		return n, started, err
	}
	if nerr := s.do("TYPE NORMAL", 200); nerr != nil && err == nil {
		// Everything is there, but what comes next would be taken for an archive.
		s.abort()
	}
	return n, started, err
}

func (s *session) storeArchive(dir string, r io.Reader) (n int64, started bool, err error) {
	s.setPhase(storing)
	open := s.openOne
	if s.codec != nil {
		open = s.openSet
	}
	set, err := open(noRange, "STOR "+wirePath(dir))
	if err != nil {
		return 0, false, err
	}
	s.unsettled = dir
	if _, err := s.begun(set, 0, 350, 150); err != nil {
		return 0, false, err
	}
	var to io.Writer = set.Conn
	end := func() error { return nil }
	if s.codec != nil {
		enc, err := s.sink(set)
		if err != nil {
			return 0, false, err
		}
		to, end = enc, enc.Close
	}
	src := &sourceReader{r: r}
	n, werr := io.Copy(to, src)
	if src.err != nil {
		s.settle() // whatever the error says, this session is not in step
		s.abort()
		return 0, src.n > 0, fmt.Errorf("read source: %w", src.err)
	}
	if werr == nil {
		werr = end()
	}
	s.dropData()
	done, err := s.ctl.readReply()
	if err == nil {
		s.unsettled = ""
		err = done.want(226)
	}
	if err == nil && werr != nil {
		err = lost(werr)
	}
	s.sent.Add(n)
	return n, true, err
}

// openOne is openSet for a plain connection.
func (s *session) openOne(cmds ...string) (connSet, error) {
	conn, err := s.transfer(cmds...)
	if err != nil {
		return connSet{}, err
	}
	conn = stallConn{conn, s.stall}
	return connSet{Conn: conn, all: []net.Conn{conn}}, nil
}

// sourceReader remembers whose fault a failure of copying is.
type sourceReader struct {
	r   io.Reader
	n   int64
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
