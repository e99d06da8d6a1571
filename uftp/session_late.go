package uftp

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// When a session is lost in the middle of an upload, the server's process for it
// may live on for a while, with bytes that it has received and not yet written:
// up to 1 MiB in its write buffer, and what its socket holds. It writes them when
// it sees the end of the data connection. Where that end never arrives, because
// the network forgot the connection, it is TCP's keep-alive that tells: 5 s of
// silence and 3 probes, 1 s apart. Whatever another session wrote to the same
// place in between would then be overwritten with older bytes.
//
// So nothing is written to that file until the process is seen to be gone: its
// end of the control connection closes after ours did. If that cannot be seen,
// because the connection broke instead (a reset may come from anyone on the way)
// or because nothing happens, the file is left alone for lateTime.
//
// What remains: a server whose file system keeps the process waiting for longer
// than that, and another client that writes to the file meanwhile, one that
// follows a killed client of ours for instance.

// lateTime is how long bytes of a lost session may still be written: the 8 s of
// the server's keep-alive, and some for writing them.
const lateTime = 10 * time.Second

// lateWrites knows the files that lost sessions may still write to.
type lateWrites struct {
	patience time.Duration // lateTime

	mu    sync.Mutex
	until map[string]time.Time // by clean path
}

func newLateWrites() *lateWrites {
	return &lateWrites{patience: lateTime, until: make(map[string]time.Time)}
}

// expect says that a lost session may write to the file from now on.
func (l *lateWrites) expect(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for p, t := range l.until {
		if t.Before(now) {
			delete(l.until, p)
		}
	}
	l.until[path] = now.Add(l.patience)
}

// wait returns when no lost session can write to the file any more.
func (l *lateWrites) wait(ctx context.Context, path string) error {
	for {
		l.mu.Lock()
		left := time.Until(l.until[path])
		l.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := pause(ctx, left); err != nil {
			return fmt.Errorf("%w: a lost session may still be writing to the file (%w)", ErrUnavailable, err)
		}
	}
}

// settle ends an upload whose end was not seen.
func (s *session) settle() {
	if s.unsettled != "" {
		s.unsettledToo = append(s.unsettledToo, s.unsettled)
	}
	if len(s.unsettledToo) > 0 && !s.seeOff() {
		for _, path := range s.unsettledToo {
			s.late.expect(path)
		}
	}
	s.unsettled, s.unsettledToo = "", nil
}

// seeOff ends a session that was lost in the middle of an upload, and reports
// whether the server's process for it was seen to end. The end of the data comes
// first, so that the process can go on; then the end of the commands.
func (s *session) seeOff() bool {
	s.dropData()
	if s.ctl.broken || s.isClosed() {
		return false
	}
	half, ok := s.ctl.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return false
	}
	if err := s.ctl.SetReadDeadline(time.Now().Add(min(s.late.patience, s.stall))); err != nil {
		return false
	}
	_, err := io.Copy(io.Discard, s.ctl.Conn) // replies that nobody waits for
	return err == nil
}
