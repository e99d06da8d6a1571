package uftp

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
)

// SyncStats says what a synchronisation moved.
type SyncStats struct {
	Sent    int64 // bytes that went over the network as they are
	Matched int64 // bytes that the old copy had
}

const syncHash = "SHA-256"

// SyncToServer makes a file on the server, which must exist, equal to the first
// size bytes of src by the rsync algorithm: what the file has already is not sent
// again. The server makes the new version beside the old one, as a file of its
// own: the mode is kept, owner and links are not. The result is verified by hash.
//
// It pays on slow links: the server reads its whole copy, and so do we. It needs
// plain data connections; others are errors.ErrUnsupported.
func (c *Client) SyncToServer(ctx context.Context, path string, src io.ReaderAt, size int64) (SyncStats, error) {
	const op = "sync"
	p, err := c.syncPath(path, size)
	if err != nil {
		return SyncStats{}, wrapError(op, path, err)
	}
	before, err := c.Stat(ctx, path)
	if err != nil {
		return SyncStats{}, renameOp(op, path, err)
	}
	var stats SyncStats
	err = c.do(ctx, operation{name: op, path: path, data: true, writes: true, fills: p}, func(s *session) error {
		stats, err = s.syncToServer(p, src, size)
		return err
	})
	if err == nil && before.Mode.Perm() != 0 {
		err = renameOp(op, path, c.Chmod(ctx, path, before.Mode))
	}
	if err == nil {
		err = wrapError(op, path, c.sameHash(ctx, path, src, size))
	}
	return stats, err
}

// SyncFromServer writes the server's version of a file to w, made by the rsync
// algorithm of old, a copy that may be out of date, and of what that lacks. The
// result is verified by hash. What [Client.SyncToServer] says of cost and
// connections holds here, too; and uftpd looks for matches at some MB/s only, so
// that it pays for files that hardly changed, on links slower than that.
func (c *Client) SyncFromServer(ctx context.Context, path string, old io.ReaderAt, oldSize int64, w io.Writer) (SyncStats, error) {
	const op = "sync"
	p, err := c.syncPath(path, oldSize)
	if err != nil {
		return SyncStats{}, wrapError(op, path, err)
	}
	info, err := c.Stat(ctx, path)
	if err != nil {
		return SyncStats{}, renameOp(op, path, err)
	}
	h := sha256.New()
	out := &countingWriter{w: io.MultiWriter(w, h)}
	stats, err := c.syncFrom(ctx, p, path, info.Size, old, oldSize, out)
	if err != nil {
		return stats, renameOp(op, path, err)
	}
	sum, err := c.Hash(ctx, path, syncHash, 0, -1)
	if err == nil && sum != sumOf(h) {
		err = fmt.Errorf("%w: what came of it is not the server's version; it may have changed meanwhile", ErrProtocol)
	}
	return stats, renameOp(op, path, err)
}

// syncFrom takes a whole file where there is nothing to gain: servers fail on
// files shorter than a block.
func (c *Client) syncFrom(ctx context.Context, p, path string, size int64, old io.ReaderAt, oldSize int64, w io.Writer) (stats SyncStats, err error) {
	if size < deltaBlock(oldSize) || oldSize == 0 {
		r, _, err := c.Get(ctx, path)
		if err != nil {
			return SyncStats{}, err
		}
		n, err := io.Copy(w, r)
		return SyncStats{Sent: n}, errors.Join(err, r.Close())
	}
	err = c.do(ctx, operation{name: "sync", path: path, data: true}, func(s *session) error {
		var started bool
		stats, started, err = s.syncToClient(p, old, oldSize, w)
		if err != nil && started {
			return &final{err}
		}
		return err
	})
	return stats, err
}

func (c *Client) syncPath(path string, size int64) (string, error) {
	if !c.dialer.coding.plain() {
		return "", fmt.Errorf("%w: servers synchronise over plain data connections only", errors.ErrUnsupported)
	}
	p, err := checkRange(path, 0, size)
	if err == nil && p == "." {
		_, err = namedPath(path)
	}
	return p, err
}

// sameHash checks that the server has what we have.
func (c *Client) sameHash(ctx context.Context, path string, src io.ReaderAt, size int64) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(src, 0, size)); err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	sum, err := c.Hash(ctx, path, syncHash, 0, -1)
	if err == nil && sum != sumOf(h) {
		err = fmt.Errorf("%w: the server's version differs afterwards; somebody else may have changed it", ErrProtocol)
	}
	return err
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// syncToServer leads.
func (s *session) syncToServer(path string, src io.ReaderAt, size int64) (SyncStats, error) {
	s.setPhase(storing)
	conn, err := s.beginSync("SYNC-TO-SERVER " + wirePath(path))
	if err != nil {
		return SyncStats{}, s.explain(path, err)
	}
	s.unsettled = path
	old, err := readSums(bufio.NewReaderSize(conn, 64<<10))
	if err != nil {
		return SyncStats{}, s.syncFailed(lost(err))
	}
	d := &deltaWriter{to: bufio.NewWriterSize(conn, 256<<10), src: src, size: size, old: old}
	if err := d.run(); err != nil {
		if !errors.Is(err, ErrUnavailable) {
			err = &final{fmt.Errorf("read source: %w", err)}
		}
		return d.stats, s.syncFailed(err)
	}
	s.sent.Add(d.stats.Sent)
	if err = s.endSync(); err == nil || isRefusal(err) {
		s.unsettled = ""
	}
	return d.stats, err
}

// syncToClient follows. started says that something was written to w.
func (s *session) syncToClient(path string, old io.ReaderAt, oldSize int64, w io.Writer) (stats SyncStats, started bool, err error) {
	conn, err := s.beginSync("SYNC-TO-CLIENT " + wirePath(path))
	if err != nil {
		return SyncStats{}, false, s.explain(path, err)
	}
	size := deltaBlock(oldSize)
	if err := sendSums(conn, old, oldSize, size); err != nil {
		return SyncStats{}, false, s.syncFailed(lost(err))
	}
	d := &deltaReader{from: bufio.NewReaderSize(conn, 256<<10), old: old, oldSize: oldSize, size: size, to: w}
	err = d.run()
	started = d.stats != SyncStats{}
	if err != nil {
		return d.stats, started, s.syncFailed(err)
	}
	s.received.Add(d.stats.Sent)
	return d.stats, true, s.endSync()
}

// beginSync sends a command of synchronisation and returns the data connection. No
// push goes with it: its replies would come before the last one to cmd, if that fails.
func (s *session) beginSync(cmd string) (net.Conn, error) {
	conn, err := s.transferPacket(packet(cmd))
	if err != nil {
		return nil, err
	}
	r, err := s.ctl.readReply()
	if err == nil {
		err = r.want(200)
	}
	return stallConn{conn, s.stall}, err
}

// endSync waits until the server is done: it says so by answering the next
// command, or fails before that.
func (s *session) endSync() error {
	if err := s.ctl.send("NOOP"); err != nil {
		return err
	}
	r, err := s.ctl.readReply()
	s.dropData()
	if err != nil || r.code == 200 {
		return err
	}
	if _, err := s.ctl.readReply(); err != nil {
		return err
	}
	return r.want(200)
}

// syncFailed ends a synchronisation that came to nothing, with the server's
// reason if it has one.
func (s *session) syncFailed(err error) error {
	if !errors.Is(err, ErrUnavailable) {
		s.settle()
		s.abort()
		return err
	}
	s.dropData()
	if said := s.endSync(); isRefusal(said) {
		s.unsettled = ""
		return said
	}
	return err
}
