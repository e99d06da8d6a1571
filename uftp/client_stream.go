package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Get opens a file for reading from its beginning to its end, as one transfer
// of one version. The stream holds a session until it is closed or read to the
// end; ctx governs all of that. Read returns io.ErrUnexpectedEOF if the file
// became shorter meanwhile. The stream is for one goroutine.
func (c *Client) Get(ctx context.Context, path string) (io.ReadCloser, Info, error) {
	p, err := cleanPath(path)
	if err != nil {
		return nil, Info{}, wrapError("get", path, err)
	}
	d := &download{client: c, ctx: ctx, path: path}
	var info Info
	err = c.do(ctx, operation{name: "get", path: path, data: true, keep: true}, func(s *session) error {
		if info, err = c.stat(s, p); err != nil {
			return err
		}
		if info.IsDir() {
			return &refusal{cause: syscall.EISDIR}
		}
		d.session = s
		start := s.startGet
		if s.codec != nil {
			start = s.startGetCoded
		}
		d.conn, d.left, err = start(p)
		info.Size = d.left
		return err
	})
	if err != nil {
		return nil, Info{}, err
	}
	d.stop = context.AfterFunc(ctx, d.session.abort)
	return d, info, nil
}

// startGet begins the transfer of a whole file, at the end of which the server
// closes the data connection. It returns how many bytes will come.
func (s *session) startGet(path string) (net.Conn, int64, error) {
	conn, err := s.transfer("KEEP-ALIVE false", noRange, "RETR "+wirePath(path), "KEEP-ALIVE true")
	if err != nil {
		return nil, 0, err
	}
	var r [3]reply
	for i := range r {
		if r[i], err = s.ctl.readReply(); err != nil {
			return nil, 0, err
		}
	}
	if err := r[2].want(150); err != nil {
		if _, rerr := s.ctl.readReply(); rerr != nil {
			return nil, 0, rerr
		}
		return nil, 0, s.explain(path, err)
	}
	n, ok := parseAvailable(r[2].text)
	if !ok || n < 0 || r[1].code != 350 || s.keepAlive && r[0].code != 200 {
		return nil, 0, fmt.Errorf("%w: RETR announces %.200q", ErrProtocol, r[2].text)
	}
	return conn, n, nil
}

// download is an open stream of [Client.Get].
type download struct {
	client  *Client
	ctx     context.Context // of the transfer, which this is
	path    string
	session *session // nil once given back
	conn    net.Conn
	left    int64
	stop    func() bool
	err     error // of all further Reads
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	if d.left > 0 {
		p = p[:min(int64(len(p)), d.left)]
		if err = d.conn.SetReadDeadline(time.Now().Add(d.session.stall)); err == nil {
			n, err = d.conn.Read(p)
		}
		d.left -= int64(n)
		d.session.received.Add(int64(n))
		d.session.progress.Add(int64(n))
	}
	switch {
	case d.left == 0 || errors.Is(err, io.EOF):
		d.err = d.finish()
	case err != nil:
		d.err = lost(err)
	default:
		return n, nil
	}
	d.giveBack()
	if n > 0 {
		return n, nil
	}
	return 0, d.err
}

// finish reads what the server says at the end.
func (d *download) finish() error {
	s := d.session
	s.dropData()
	end, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	if err := end.want(226); err != nil {
		return err
	}
	if keep, err := s.ctl.readReply(); err != nil {
		return err
	} else if s.keepAlive {
		if err := keep.want(200); err != nil {
			return err
		}
	}
	if d.left > 0 {
		return fmt.Errorf("%d bytes missing: %w", d.left, io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// giveBack returns the session to the pool; it is closed if anything but a
// complete transfer happened on it.
func (d *download) giveBack() {
	s := d.session
	if s == nil {
		return
	}
	d.session = nil
	if !d.stop() || d.err != io.EOF { //nolint:errorlint // our own
		s.abort()
	}
	if d.err != io.EOF { //nolint:errorlint // our own
		if cerr := d.ctx.Err(); cerr != nil {
			d.err = fmt.Errorf("%w (%w)", cerr, d.err)
		}
		d.err = wrapError("get", d.path, d.err)
	}
	d.client.pool.release(s)
}

// Close implements io.Closer. Closing before the end costs the session.
func (d *download) Close() error {
	if d.session != nil {
		d.err = fmt.Errorf("%w: stream closed", net.ErrClosed)
		d.giveBack()
	}
	return nil
}

// Put writes all of r into a file, making it or replacing what it held, and
// returns the number of bytes, all of which the server has then. It is repeated
// only as long as nothing was read from r. After a failure the file may hold a
// part; to replace a file at once, Put to another name and Rename.
func (c *Client) Put(ctx context.Context, path string, r io.Reader) (int64, error) {
	p, err := namedPath(path)
	if err != nil {
		return 0, wrapError("put", path, err)
	}
	var n int64
	err = c.do(ctx, operation{name: "put", path: path, data: true, writes: true, fills: p}, func(s *session) error {
		var started bool
		put := s.put
		if s.codec != nil {
			put = s.replaceCoded
		}
		n, started, err = put(p, r)
		if err != nil && started {
			return &final{err}
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// final is an error that must not be mended by another attempt.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// put sends r to the file; started says that something was read from r.
func (s *session) put(path string, r io.Reader) (n int64, started bool, err error) {
	w := wirePath(path)
	s.setPhase(storing)
	conn, err := s.transfer(noRange, "STOR "+w)
	if err != nil {
		return 0, false, err
	}
	s.unsettled = path
	// A server that refuses does not read the data: wait for its word.
	var replies [2]reply
	for i := range replies {
		if replies[i], err = s.ctl.readReply(); err != nil {
			return 0, false, err
		}
	}
	err = firstRefusal(replies[:], 350, 150)
	switch {
	case err != nil && replies[1].code == 150: // it stores, who knows which range
		return 0, false, fmt.Errorf("%w: %s", ErrProtocol, err.Error())
	case err != nil:
		return 0, false, err
	}
	m := moved{all: &s.progress}
	n, rerr, werr := pump(conn, r, s.stall, &m)
	s.sent.Add(m.n.Load())
	if rerr != nil {
		s.settle() // whatever the error says, this session is not in step
		s.abort()
		return 0, true, fmt.Errorf("read source: %w", rerr)
	}
	s.dropData()
	end, err := s.ctl.readReply()
	if err == nil {
		s.unsettled = ""
		err = end.want(226)
	}
	if err == nil && werr != nil {
		err = lost(werr)
	}
	if err != nil {
		return 0, true, err
	}
	st, err := s.exchange("STAT F " + w)
	if err != nil {
		return 0, true, err
	}
	if i, ok := statInfo(st[0]); ok && i.Size != n {
		return 0, true, fmt.Errorf("%w: file has %d bytes after writing %d", ErrUnavailable, i.Size, n)
	}
	return n, true, nil
}

// pump copies r to conn and tells whose fault a failure is.
func pump(conn net.Conn, r io.Reader, stall time.Duration, m *moved) (n int64, rerr, werr error) {
	buf := make([]byte, 1<<20)
	for {
		k, err := r.Read(buf)
		if werr := writeFull(conn, buf[:k], stall, m); werr != nil {
			return n, nil, werr
		}
		n += int64(k)
		switch {
		case errors.Is(err, io.EOF):
			return n, nil, nil
		case err != nil:
			return n, err, nil
		}
	}
}
