package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jlaffaye/ftp"
)

// dialer makes sessions; it is what all sessions of a client share.
type dialer struct {
	dial    DialFunc
	timeout time.Duration // for a connection, and for the login after it
	stall   time.Duration // longest silence of a server that should speak
	linger  time.Duration // finishTime

	late   *lateWrites // of lost sessions
	seen   versions    // of files
	limit  rateLimit   // of reads and writes
	coding coding

	passive   atomic.Bool // use PASV and its address: EPSV's port was refused
	inclusive atomic.Bool // the end of a RANG is part of it, as we found out
	trips     atomic.Int64
	noPush    atomic.Bool // see pusher
	trip      shortest    // round trip, which is what the way to the server takes
	hello     shortest    // half of what connecting and the greeting took, about a round trip
	hurry     atomic.Bool // see way
	received  atomic.Int64
	sent      atomic.Int64
}

// way is how long the way to the server and back is, 0 if that is not known. Before
// anything was asked the log-in tells those who cannot wait to know: where the machine
// is busy that may take a near server for a far one.
func (d *dialer) way() time.Duration {
	if trip := d.trip.get(); trip > 0 || !d.hurry.Load() {
		return trip
	}
	return d.hello.get()
}

// far reports whether the server is far away, as far as is known.
func (d *dialer) far() bool { return d.way() >= longWay }

// session is one login at UFTPD: a control connection and at most one data
// connection, which is kept over transfers.
//
// It runs one operation at a time (the pool sees to that). An operation reads
// every reply it asked for, or the session is closed: a session that is given
// back is in step with the server.
type session struct {
	*dialer
	ctl       *control
	lib       *ftp.ServerConn // shares ctl
	host      string          // address of the control connection's far end
	keepAlive bool            // the server keeps data connections
	codec     *codec          // of data connections that are not plain, which it does not keep
	dialed    time.Time       // when it was connected to
	renamed   bool            // something was, or was to be; see rename
	rfcRang   bool            // the server says that the end of a RANG is part of it

	idleSince    time.Time    // owned by the pool
	bulk         bool         // owned by the pool: lent to one who moves much
	robbed       bool         // a question has cost its data connection, since the pool lent it
	progress     atomic.Int64 // bytes moved on data connections
	unsettled    string       // the file that the server may be writing and has not said it is done with
	unsettledToo []string     // further ones
	fresh        bool         // nothing was asked since the login, which asks for the base directory

	life context.Context // ends with the session
	end  context.CancelFunc

	mu          sync.Mutex // guards the following, which are reached from outside
	data        net.Conn   // in step: no transfer's bytes are left in it
	draining    net.Conn   // a data connection that the server was asked to close
	operation   uint64     // number of the present one, or of the last and one
	phase       phase
	interrupted bool        // the operation is being ended
	timer       *time.Timer // of an operation whose context ended
	closed      bool
}

// An operation whose context ends goes on for finishTime: nearly all are done
// by then, and a session is worth more than the moment. It costs several round
// trips to replace, and the server frees its slot 5 s late; and the kernel
// interrupts file operations for harmless signals too.
const finishTime = 250 * time.Millisecond

// graceTime bounds what comes after that; see phase.
const graceTime = 2 * time.Second

// phase says how an operation ends that takes longer.
type phase int

const (
	// anywhere: everything is closed.
	anywhere phase = iota
	// opening: the server waits for a data connection, for 30 s and with the
	// session's slot in its hands. It gets the connection first.
	opening
	// storing: the server may have bytes that it has not written yet, and would
	// write them whenever it likes, over what others write after us. The data
	// connection is closed, and the server seen to finish.
	storing
)

// run runs one operation. When ctx ends and the operation does not soon, the
// connections are closed, which wakes whatever waits on them. Any failure but a
// refusal closes the session.
func (s *session) run(ctx context.Context, op func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.ctl.sent, s.unsettled, s.unsettledToo, s.fresh = false, "", nil, false
	number := s.nextOperation()
	stop := context.AfterFunc(ctx, func() { s.interrupt(number) })
	err := op()
	if err != nil && !isRefusal(err) {
		s.settle()
	}
	stop()
	s.nextOperation()
	if err == nil || isRefusal(err) {
		return err
	}
	s.abort()
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// nextOperation ends one operation and begins another.
func (s *session) nextOperation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.operation++
	s.phase = anywhere
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.interrupted {
		s.abortLocked()
	}
	return s.operation
}

// isRefusal reports whether err leaves a session in step.
func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r) || err == io.EOF //nolint:errorlint // only our own end of file, not a connection's
}

// exchange sends the commands in one packet and reads one reply to each, also
// when some are refused; the caller checks them. The error is the session's; those that
// came before it are returned, too.
func (s *session) exchange(cmds ...string) ([]reply, error) {
	if err := s.ctl.ask(cmds...); err != nil {
		return nil, err
	}
	replies := make([]reply, len(cmds))
	for i := range replies {
		var err error
		if replies[i], err = s.ctl.readReply(); err != nil {
			return replies[:i], err
		}
	}
	return replies, nil
}

// do sends one command and checks its reply.
func (s *session) do(cmd string, code int) error {
	r, err := s.exchange(cmd)
	if err != nil {
		return err
	}
	return r[0].want(code)
}

// library runs one call of the FTP library.
func (s *session) library(call func(*ftp.ServerConn) error) error {
	s.ctl.allowed = maxLibraryBytes
	return fromLibrary(call(s.lib))
}

// interrupt gives the operation, if it is still the present one, a moment.
func (s *session) interrupt(operation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.operation == operation && !s.closed {
		s.timer = time.AfterFunc(s.linger, func() { s.expire(operation) })
	}
}

// expire ends the operation as fast as its phase allows.
func (s *session) expire(operation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.operation != operation || s.closed {
		return
	}
	s.interrupted = true
	switch s.phase {
	case anywhere:
		s.abortLocked()
		return
	case storing:
		if s.data != nil {
			_ = s.data.Close()
		}
	}
	s.timer = time.AfterFunc(graceTime, s.abort)
}

// setPhase sets the phase and returns the one before. A session that was
// interrupted may not go on and is closed.
func (s *session) setPhase(p phase) phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.phase
	s.phase = p
	if s.interrupted {
		s.abortLocked()
	}
	return old
}

// abort closes the connections at once. It may be called at any moment.
func (s *session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abortLocked()
}

func (s *session) abortLocked() {
	s.closed = true
	s.end()
	if s.timer != nil {
		s.timer.Stop()
	}
	_ = s.ctl.Close() // what it could say no longer matters
	if s.data != nil {
		_ = s.data.Close()
		s.data = nil
	}
	if s.draining != nil {
		_ = s.draining.Close()
	}
}

// close says goodbye, if the session is in step, and closes it.
func (s *session) close() {
	if !s.isClosed() && s.lib != nil {
		_ = s.lib.Quit() // the server does not answer
	}
	s.abort()
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// alive reports, without a round trip, whether an idle session can be used.
func (s *session) alive() bool {
	return !s.isClosed() && s.ctl.atRest()
}

// hasData reports whether a data connection is open.
func (s *session) hasData() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data != nil
}

// setData makes conn the data connection; nil drops the present one.
func (s *session) setData(conn net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil {
		_ = s.data.Close()
	}
	s.data = conn
	if s.closed && conn != nil {
		_ = conn.Close()
		s.data = nil
		return fmt.Errorf("%w: session closed", ErrUnavailable)
	}
	return nil
}

// dropData closes the data connection.
func (s *session) dropData() { _ = s.setData(nil) }
