package uftptest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errEndSession ends a session without a reply.
var errEndSession = errors.New("session ended")

// A session is one control connection. All but kill happens in its goroutine.
type session struct {
	eng  *engine
	log  *slog.Logger
	ctrl *control
	peer string // the client's address
	reg  *registration

	ctx    context.Context // ends when the session is killed
	cancel context.CancelFunc
	mu     sync.Mutex
	open   map[io.Closer]struct{} // connections and listeners, closed by kill
	killed bool

	home, base   string
	cwd          string // what relative paths are joined to
	physical     string // the process's working directory, links resolved
	access       accessLevel
	includes     []string
	excludes     []string
	renameFrom   string
	haveFrom     bool
	options      options
	offset       *big.Int
	count        *big.Int // bytes to move; -1: not set
	haveRange    bool
	conns        []*dataConn // of the data connection being set up, or set up
	data         stream      // nil until all of conns are there
	pause        time.Duration
	buf          []byte      // for reading files
	faultPending *armedFault // for the transfer of the command at work
}

func newSession(e *engine, conn net.Conn) *session {
	ctx, cancel := context.WithCancel(e.ctx)
	s := &session{
		eng:    e,
		log:    e.log,
		ctrl:   newControl(conn, e.quirks),
		peer:   addrHost(conn.RemoteAddr()),
		ctx:    ctx,
		cancel: cancel,
		open:   make(map[io.Closer]struct{}),
	}
	s.track(conn)
	return s
}

// track makes kill close c. It reports whether the session still lives; if not,
// c is closed already.
func (s *session) track(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		abort(c)
		return false
	}
	s.open[c] = struct{}{}
	return true
}

// drop closes what was tracked.
func (s *session) drop(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	_ = c.Close()
}

// kill drops all connections. It may be called from any goroutine.
func (s *session) kill() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for c := range s.open {
		abort(c)
	}
	clear(s.open)
}

// abort closes c without waiting for what is on its way in it.
func abort(c io.Closer) {
	if shaped, ok := c.(*shapedConn); ok {
		shaped.abort()
		return
	}
	_ = c.Close()
}

// serve runs the session to its end.
func (s *session) serve() {
	defer s.finish()
	s.eng.counts.update(func(st *Stats) { st.Connections++ })
	if s.struck(FaultConnect) {
		return
	}
	l := s.login()
	if l == nil {
		return
	}
	defer s.eng.secrets.end(l)
	s.log.Debug("session begins", "user", s.reg.user, "base", s.base)
	s.eng.counts.sessionStarted()
	defer s.eng.counts.update(func(st *Stats) { st.Sessions-- })
	s.run()
}

// finish closes the session's connections as the end of a process does.
func (s *session) finish() {
	shutdown(s.ctrl.conn)
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for c := range s.open {
		_ = c.Close()
	}
	clear(s.open)
}

// struck shows the fault for a place, if there is one. It reports whether the
// session is to end.
func (s *session) struck(place string) bool {
	f := s.eng.faults.take(place)
	if f == nil {
		return false
	}
	if s.strike(f) != nil {
		return true
	}
	if f.Reply != "" {
		_ = s.replyWith(f.Reply)
		return true
	}
	return false
}

// strike does what f wants done before anything else.
func (s *session) strike(f *armedFault) error {
	if f.Delay > 0 {
		if err := s.sleep(f.Delay); err != nil {
			return err
		}
	}
	if f.Stall {
		select {
		case <-f.cleared:
		case <-s.ctx.Done():
			return errEndSession
		}
	}
	if f.Kill {
		s.kill()
		return errEndSession
	}
	return nil
}

// replyWith sends the lines of an injected reply.
func (s *session) replyWith(text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if err := s.ctrl.reply("%s", line); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d, or for the session to be killed.
func (s *session) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return errEndSession
	}
}

// run executes commands, one after another, until the client goes.
func (s *session) run() {
	for {
		line, err := s.ctrl.readLine()
		if err != nil {
			s.log.Debug("control connection ended", "err", err)
			return
		}
		if line == "" {
			continue
		}
		verb, text, given := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		s.eng.counts.command(verb)
		if err := s.command(verb, argument{text, given}); err != nil {
			return
		}
	}
}

// command executes one command and reports its failure to the client. An error
// ends the session.
func (s *session) command(verb string, arg argument) error {
	defer func() { s.faultPending, s.ctrl.override = nil, nil }()
	err := s.tryCommand(verb, arg)
	if err == nil || errors.Is(err, errEndSession) {
		return err
	}
	code := 500
	var re *replyError
	if errors.As(err, &re) {
		code = re.code
	}
	s.log.Debug("command failed", "verb", verb, "err", err)
	if s.eng.quirks.OldErrors {
		err = s.ctrl.reply("500 Error processing command: %s", errnoText(err))
	} else {
		err = s.ctrl.reply("%d Error processing command '%s': %s", code, verb, errnoText(err))
	}
	if re != nil && re.closeData {
		s.closeData()
	}
	return err
}

// tryCommand executes one command, with the faults it meets.
func (s *session) tryCommand(verb string, arg argument) error {
	f := s.eng.faults.take(verb)
	if f == nil {
		return s.execute(verb, arg)
	}
	if f.transfers() {
		s.faultPending = f
	} else {
		if err := s.strike(f); err != nil {
			return err
		}
		if f.Reply != "" {
			return s.replyWith(f.Reply)
		}
		if f.Errno != 0 {
			return s.injected(f.Errno, arg)
		}
	}
	if f.LastReply != "" || f.LoseReply {
		s.ctrl.override = &f.LastReply
	}
	return s.execute(verb, arg)
}

// injected is the failure of a command with errno, about the path it names.
func (s *session) injected(errno syscall.Errno, arg argument) error {
	if path, err := s.resolve(arg); err == nil {
		return osError(errno, path)
	}
	return osError(errno)
}

func (s *session) execute(verb string, arg argument) error {
	h, ok := handlers[verb]
	if !ok || s.eng.disabled(verb) {
		if s.eng.quirks.OldErrors {
			return s.ctrl.reply("500 Command not implemented.")
		}
		return s.ctrl.reply("502 Command not implemented.")
	}
	return h(s, arg)
}

// done is the reply to a command that RFC 959 answers with 250 and UFTPD with 200.
func (s *session) done() error {
	if s.eng.quirks.StandardCodes {
		return s.ctrl.reply("250 OK")
	}
	return s.ctrl.reply("200 OK")
}

// An argument is what follows a verb and a blank; without the blank there is
// none, which is not the same as an empty one.
type argument struct {
	text  string
	given bool
}

// need returns the text, or what the use of a missing argument's method raises.
func (a argument) need(method string) (string, error) {
	if !a.given {
		return "", noAttribute(method)
	}
	return a.text, nil
}

// or returns the text, or another one if there is none.
func (a argument) or(other string) string {
	if a.given && a.text != "" {
		return a.text
	}
	return other
}
