package uftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// upload is what one STOR did.
type upload struct {
	sent    int64 // bytes the server has
	rest    []byte
	atEnd   bool // the source has no more than rest
	started bool // something was taken from the source
}

// storeCoded sends head and then src, until its end, to the file in one STOR: at
// off, or in place of what the file held if replace. Of an encrypted upload of
// unlucky length it leaves a rest.
func (s *session) storeCoded(path string, off int64, replace bool, head []byte, src io.Reader) (up upload, err error) {
	s.setPhase(storing)
	where := fmt.Sprintf("RANG %d %d", off, int64(math.MaxInt64)) // the end of the data ends it
	if replace {
		where = noRange
	}
	set, err := s.openSet(where, "STOR "+wirePath(path))
	if err != nil {
		return up, err
	}
	s.unsettled = path
	if _, err := s.begun(set, 0, 350, 150); err != nil {
		return up, err
	}
	enc, err := s.sink(set)
	if err != nil {
		return up, err
	}
	up, rerr, werr := s.codec.feed(enc, head, src)
	if rerr != nil {
		s.settle() // whatever the error says, this session is not in step
		s.abort()
		return up, fmt.Errorf("read source: %w", rerr)
	}
	s.dropData() // the end of the data
	end, err := s.ctl.readReply()
	if err == nil {
		s.unsettled = ""
		err = end.want(226)
	}
	if err == nil && werr != nil {
		err = lost(werr)
	}
	s.sent.Add(up.sent)
	return up, err
}

// sink is the way into a set.
func (s *session) sink(set connSet) (*encoder, error) {
	streams := make([]io.Writer, len(set.all))
	for i, c := range set.all {
		streams[i] = c
	}
	return s.codec.encoder(streams)
}

// feed encodes head and src, and tells whose fault a failure is. What might have
// to go into another upload is held back until more comes.
func (c *codec) feed(enc *encoder, head []byte, src io.Reader) (up upload, rerr, werr error) {
	buf := append(make([]byte, 0, max(1<<20, len(head))+tailLen), head...)
	for !up.atEnd {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		up.started = up.started || n > 0
		switch {
		case errors.Is(err, io.EOF):
			up.atEnd = true
		case err != nil:
			return up, err, nil
		}
		keep := min(tailLen, len(buf))
		if up.atEnd && !c.unlucky(up.sent+int64(len(buf))) {
			keep = 0
		}
		if _, err := enc.Write(buf[:len(buf)-keep]); err != nil {
			return up, nil, err
		}
		up.sent += int64(len(buf) - keep)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
	up.rest = buf
	return up, nil, enc.Close()
}

// writeCoded is writeAt for connections that are not plain.
func (s *session) writeCoded(path string, p []byte, off int64) error {
	_, _, err := s.putCoded(path, off, false, bytes.NewReader(p))
	if err != nil {
		return err
	}
	more, err := s.reaches(path, off+int64(len(p)))
	if err == nil && !more {
		err = fmt.Errorf("%w: file ends before %d after writing up to there", ErrUnavailable, off+int64(len(p)))
	}
	return err
}

// putCoded sends all of src to the file, at off or in place of what it held.
func (s *session) putCoded(path string, off int64, replace bool, src io.Reader) (n int64, started bool, err error) {
	var head []byte
	for {
		up, err := s.storeCoded(path, off+n, replace, head, src)
		started = started || up.started
		n += up.sent
		if err != nil || up.atEnd && len(up.rest) == 0 {
			return n, started, err
		}
		head, replace = up.rest, false
	}
}

// createCoded is create for connections that are not plain.
func (s *session) createCoded(path string) error {
	_, err := s.storeCoded(path, 0, true, nil, bytes.NewReader(nil))
	return err
}

// codedFetch is Fetch for connections that are not plain; the attributes after
// the read are asked for if look.
func (c *Client) codedFetch(ctx context.Context, clean string, r Read, look bool) (n int, after Info, err error) {
	short := false
	err = c.do(ctx, operation{name: opRead, path: r.Path}, func(s *session) (err error) {
		n, short = 0, false
		if len(r.Buf) > 0 {
			n, err = s.readCoded(clean, r.Buf, r.Off)
			short = err == io.EOF //nolint:errorlint // our own
		}
		if err == nil || short {
			err = nil
			if look {
				after, err = s.look(clean)
			}
		}
		return err
	})
	if err == nil && short {
		err = io.EOF
	}
	return n, after, err
}

// replaceCoded is put for connections that are not plain.
func (s *session) replaceCoded(path string, r io.Reader) (n int64, started bool, err error) {
	n, started, err = s.putCoded(path, 0, true, r)
	if err != nil {
		return 0, started, err
	}
	info, err := s.look(path)
	if err == nil && info.Size != n {
		err = fmt.Errorf("%w: file has %d bytes after writing %d", ErrUnavailable, info.Size, n)
	}
	return n, true, err
}
