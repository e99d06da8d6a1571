package uftptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// rcpControl is RCP-STATUS and RCP-ABORT, neither of which has ever worked.
func (s *session) rcpControl(arg argument) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	kind := "str"
	if !arg.given {
		kind = "NoneType"
	}
	return raise("'%s' object cannot be interpreted as an integer", kind)
}

// sendFile copies a file of this server to another one.
func (s *session) sendFile(arg argument) error {
	t, err := s.newRemoteCopy(accessRead, arg)
	if err != nil {
		return err
	}
	if f, err := statFile(t.local); err != nil || !f.can(unix.R_OK) {
		return fail(550, noSuchFile)
	}
	return s.launch(t, t.send)
}

// receiveFile copies a file of another server to this one.
func (s *session) receiveFile(arg argument) error {
	t, err := s.newRemoteCopy(accessWrite, arg)
	if err != nil {
		return err
	}
	return s.launch(t, t.receive)
}

func (s *session) newRemoteCopy(level accessLevel, arg argument) (*remoteCopy, error) {
	if err := s.permit(level); err != nil {
		return nil, err
	}
	w, ok := shellWords(arg.text)
	if !ok || len(w) != 4 {
		return nil, fail(501, "Wrong parameter count")
	}
	local, err := s.abs(w[0])
	if err != nil {
		return nil, err
	}
	return &remoteCopy{
		local: local, remote: w[1], server: w[2], secret: w[3],
		offset: clamp(s.offset), count: clamp(s.count), options: s.options, dial: s.eng.cfg.dial,
	}, nil
}

// launch starts a copy that nobody will hear of again: its failure is a line in
// the log. It ends with the engine.
func (s *session) launch(t *remoteCopy, run func(context.Context) error) error {
	if _, _, err := unpack2(strings.Split(t.server, ":")); err != nil {
		return err
	}
	e := s.eng
	e.wg.Go(func() {
		if err := run(e.ctx); err != nil {
			e.log.Info("server-to-server copy ended", "path", t.local, "err", err)
		}
	})
	s.resetRange()
	return s.ctrl.reply("299 OK transfer-process-ID=%d", e.copies.Add(1)+100000)
}

// dial opens connections to other servers.
func (c Config) dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// A remoteCopy is a client of another server.
type remoteCopy struct {
	local, remote  string
	server, secret string
	offset, count  int64
	options        options
	dial           func(context.Context, string) (net.Conn, error)

	mu     sync.Mutex
	open   []net.Conn // closed by close
	closed bool

	ctrl  net.Conn
	lines *bufio.Reader
}

// send stores the local file.
func (t *remoteCopy) send(ctx context.Context) error {
	stop, err := t.login(ctx)
	if err != nil {
		return err
	}
	defer stop()
	f, err := os.Open(t.local)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	to, err := t.begin(ctx, "STOR ")
	if err != nil {
		return err
	}
	if _, err := f.Seek(max(t.offset, 0), io.SeekStart); err != nil {
		return err
	}
	src := io.Reader(f)
	if t.count >= 0 {
		src = io.LimitReader(f, t.count)
	}
	buf := make([]byte, t.options.bufferSize())
	for {
		n, err := io.ReadFull(src, buf)
		if n > 0 {
			if err := to.write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// receive writes the local file, from its beginning truncated.
func (t *remoteCopy) receive(ctx context.Context) (err error) {
	stop, err := t.login(ctx)
	if err != nil {
		return err
	}
	defer stop()
	f, err := os.Create(t.local)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	from, err := t.begin(ctx, "RETR ")
	if err != nil {
		return err
	}
	if _, err := f.Seek(max(t.offset, 0), io.SeekStart); err != nil {
		return err
	}
	for total := int64(0); t.count < 0 || total < t.count; {
		n := t.options.bufferSize()
		if t.count >= 0 {
			n = int(min(int64(n), t.count-total))
		}
		data, err := from.read(n)
		if err != nil || len(data) == 0 {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		total += int64(len(data))
	}
	return nil
}

// login opens a session. The function it returns closes all of it.
func (t *remoteCopy) login(ctx context.Context) (stop func(), err error) {
	if t.ctrl, err = t.connect(ctx, t.server); err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(ctx, t.close)
	stop = func() {
		unwatch()
		t.close()
	}
	t.lines = bufio.NewReader(t.ctrl)
	if _, err = t.reply("220 "); err == nil {
		if _, err = t.do("USER anonymous", "331 "); err == nil {
			_, err = t.do("PASS "+t.secret, "230 ")
		}
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// connect opens a connection that close closes.
func (t *remoteCopy) connect(ctx context.Context, address string) (net.Conn, error) {
	conn, err := t.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	t.open = append(t.open, conn)
	return conn, nil
}

// close ends the data connections as a client does that has sent everything, and
// the control connection with them.
func (t *remoteCopy) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.open[1:] {
		_ = c.Close()
	}
	_ = t.ctrl.Close()
}

func (t *remoteCopy) do(command, want string) (string, error) {
	if _, err := io.WriteString(t.ctrl, command+"\r\n"); err != nil {
		return "", err
	}
	return t.reply(want)
}

func (t *remoteCopy) reply(want string) (string, error) {
	line, err := t.lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, want) {
		return "", fmt.Errorf("the other server says %q", line)
	}
	return line, nil
}

// begin sends the range, opens the data connections and starts the transfer.
// The range's end is meant to be inclusive, which a UFTPD does not understand
// so: the last byte is missing.
func (t *remoteCopy) begin(ctx context.Context, verb string) (stream, error) {
	if t.offset > 0 || t.count >= 0 {
		if _, err := t.do(fmt.Sprintf("RANG %d %d", t.offset, t.offset+t.count-1), "350 "); err != nil {
			return nil, err
		}
	}
	if t.options.streams > 1 {
		if _, err := t.do(fmt.Sprintf("NOOP %d", t.options.streams), "222 "); err != nil {
			return nil, err
		}
	}
	var conns []*dataConn
	for range t.options.streams {
		line, err := t.do("PASV", "227 ")
		if err != nil {
			return nil, err
		}
		conn, err := t.connect(ctx, net.JoinHostPort(addrHost(t.ctrl.RemoteAddr()), strconv.Itoa(passivePort(line))))
		if err != nil {
			return nil, err
		}
		conns = append(conns, newDataConn(conn))
	}
	st, err := newStream(conns, &t.options)
	if err != nil {
		return nil, err
	}
	_, err = t.do(verb+t.remote, "150 ")
	return st, err
}

// passivePort is the port in a 227 reply.
func passivePort(line string) int {
	fields := strings.Split(strings.TrimSuffix(line, ")"), ",")
	if len(fields) < 6 {
		return 0
	}
	hi, _ := strconv.Atoi(fields[4])
	lo, _ := strconv.Atoi(fields[5])
	return hi*256 + lo
}

// shellWords splits text as a POSIX shell would, without expansions.
func shellWords(text string) (words []string, ok bool) {
	var word strings.Builder
	inWord := false
	quote := rune(0)
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, quote == 0 && !escaped
}
