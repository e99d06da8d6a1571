package uftptest

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A player does what a dialogue says and writes down what it sees.
//
//	@ file NAME "CONTENT" [mode=0644] [mtime=RFC3339]     files to begin with;
//	@ size NAME BYTES   @ dir NAME [mode=0755]             they get a time in 2020
//	@ link NAME TARGET   @ chmod NAME MODE
//	@ register [base=DIR] [persistent] [ip=A,B] [access=LEVEL] [includes=P] [excludes=P]
//	           [streams=N] [compress] [key=aes|blowfish|HEX] [algo=NAME] [rate=N]
//	                      a secret, from then on $SECRET; base is relative to the
//	                      served directory unless it starts with "="
//	@ connect             a control connection, and its greeting
//	@ session ...         register, connect and login, all in silence
//	@ use N               goes back to the N-th connection
//	C: LINE               a command; its replies are read. Those that follow a
//	                      1xx are read before the next command
//	C& LINE               a command in one packet with the next one
//	% raw "BYTES"         bytes on the control connection
//	% reply               reads a reply
//	% noconnect           leave the next 229 alone
//	% recv N|eof [sort] [first]
//	                      reads data, from all connections or the first, decoded
//	% send "TEXT"|=BYTES  sends data, encoded, BYTES of a pattern
//	% tar ENTRY...        sends a tar stream, and closes, see [archive]
//	% shutdown            ends the data that is sent
//	% close               closes the data connections
//	% show NAME           looks at a file
//	% await NAME BYTES    waits until a file has a size
//
// It writes S: for replies, D: for data, F: for files and R: for registrations.
type player struct {
	tb  testing.TB
	s   *Server
	out strings.Builder

	job     job
	ctrls   []*playedControl
	ctrl    *playedControl
	queued  []string // commands to go with the next one
	seq     uint32
	secrets int
}

type playedControl struct {
	conn    net.Conn
	r       *bufio.Reader
	job     job
	pending bool // a 1xx was read, and not what follows it
	data    []net.Conn
	port    int  // of the last 229 or 227
	silent  bool // ports are not connected to
	over    bool
}

const playTimeout = 5 * time.Second

// fixedTime is the age of files in dialogues.
var fixedTime = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

func play(tb testing.TB, s *Server, text string) string {
	tb.Helper()
	p := &player{tb: tb, s: s}
	defer p.close()
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if regexp.MustCompile(`^[SDFR]:`).MatchString(line) {
			continue
		}
		if !strings.HasPrefix(line, "%") {
			p.settle()
		}
		fmt.Fprintln(&p.out, line)
		p.line(line)
	}
	p.settle()
	return p.out.String()
}

func (p *player) close() {
	_ = filepath.WalkDir(p.s.Dir(), func(path string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			_ = os.Chmod(path, 0o755) // so that it can be removed
		}
		return nil
	})
	for _, c := range p.ctrls {
		_ = c.conn.Close()
		for _, d := range c.data {
			_ = d.Close()
		}
	}
}

func (p *player) line(line string) {
	kind, rest, _ := strings.Cut(line, " ")
	rest = strings.NewReplacer("$DIR", p.s.Dir(), "$SECRET", p.job.secret, "$PORT", p.port()).Replace(rest)
	switch kind {
	case "", "#":
	case "@":
		p.setup(words(rest))
	case "C&":
		p.queued = append(p.queued, rest)
	case "C:":
		p.send(append(p.queued, rest))
		p.queued = nil
	case "%":
		p.act(words(rest))
	default:
		p.tb.Fatalf("bad line %q", line)
	}
}

func (p *player) port() string {
	if p.ctrl == nil {
		return ""
	}
	return strconv.Itoa(addrPort(p.ctrl.conn.RemoteAddr()))
}

// words splits at blanks, and takes Go string literals whole.
func words(line string) []string {
	var list []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if quoted, err := strconv.QuotedPrefix(line); err == nil {
			text, _ := strconv.Unquote(quoted)
			list = append(list, text)
			line = line[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		list = append(list, word)
		line = rest
	}
	return list
}

// option is the value of NAME=VALUE among words.
func option(list []string, name, otherwise string) string {
	for _, w := range list {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return otherwise
}

func (p *player) setup(w []string) {
	p.tb.Helper()
	path := func() string { return filepath.Join(p.s.Dir(), w[1]) }
	var err error
	switch w[0] {
	case "file":
		err = os.WriteFile(path(), []byte(w[2]), 0o600)
		p.own(path(), w, "0644", err)
	case "size":
		n, _ := strconv.Atoi(w[2])
		err = os.WriteFile(path(), pattern(n), 0o600)
		p.own(path(), w, "0644", err)
	case "dir":
		err = os.MkdirAll(path(), 0o700)
		p.own(path(), w, "0755", err)
	case "chmod":
		p.own(path(), w, w[2], nil)
	case "link":
		err = os.Symlink(w[2], path())
	case "register":
		p.register(w[1:], true)
	case "connect":
		p.connect(true)
	case "session":
		p.register(w[1:], false)
		p.connect(false)
		for _, line := range []string{"USER anonymous", "PASS " + p.job.secret} {
			p.write(line + "\r\n")
			reply := p.reply()
			if !strings.HasPrefix(reply[0], "331 ") && reply[0] != "230 Login successful" {
				p.print("S:", reply...)
			}
		}
	case "use":
		n, _ := strconv.Atoi(w[1])
		p.ctrl = p.ctrls[n-1]
	default:
		p.tb.Fatalf("bad word %q", w[0])
	}
	if err != nil {
		p.tb.Fatal(err)
	}
}

// own gives a file to the server's user, with a mode and a time.
func (p *player) own(path string, w []string, mode string, err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatal(err)
	}
	p.s.Chown(p.tb)
	bits, _ := strconv.ParseUint(option(w, "mode", mode), 8, 32)
	mtime := fixedTime
	if text := option(w, "mtime", ""); text != "" {
		mtime, err = time.Parse(time.RFC3339Nano, text)
	}
	if err := errors.Join(err, os.Chmod(path, os.FileMode(bits)), os.Chtimes(path, mtime, mtime)); err != nil {
		p.tb.Fatal(err)
	}
}

func (p *player) register(w []string, say bool) {
	p.tb.Helper()
	j := job{
		user:      p.s.cfg.Users[0].UnixUser,
		base:      p.s.Dir() + "/" + option(w, "base", ""),
		clientIPs: strings.Split(option(w, "ip", "127.0.0.1"), ","),
		access:    option(w, "access", ""),
		includes:  option(w, "includes", ""),
		excludes:  option(w, "excludes", ""),
		algo:      option(w, "algo", ""),
	}
	p.secrets++
	j.secret = fmt.Sprintf("secret-%d", p.secrets)
	if base := option(w, "base", ""); strings.HasPrefix(base, "=") {
		j.base = base[1:]
	}
	for _, word := range w {
		switch word {
		case "persistent":
			j.persistent = true
		case "compress":
			j.compress = true
		case "again":
			j.secret = p.job.secret
		}
	}
	j.streams, _ = strconv.Atoi(option(w, "streams", "1"))
	j.rateLimit, _ = strconv.ParseInt(option(w, "rate", "0"), 10, 64)
	switch key := option(w, "key", ""); key {
	case "aes":
		j.key = pattern(48)
	case "blowfish":
		j.key = pattern(56)
	default:
		j.key, _ = hex.DecodeString(key)
	}
	if len(j.key) == 0 {
		j.key = nil
	}
	_, err := p.s.backends[0].register(p.tb.Context(), j)
	var refused refusedError
	switch {
	case errors.As(err, &refused):
		p.print("R:", err.Error())
		return
	case err != nil:
		p.tb.Fatal(err)
	}
	p.job = j
	if say {
		p.print("R:", "OK")
	}
}

func (p *player) connect(say bool) {
	p.tb.Helper()
	_, _, port, _, err := p.s.backends[0].ping(p.tb.Context())
	if err != nil {
		p.tb.Fatal(err)
	}
	conn := p.dial(port)
	p.ctrl = &playedControl{conn: conn, r: bufio.NewReader(conn), job: p.job}
	p.ctrls = append(p.ctrls, p.ctrl)
	greeting := p.reply()
	if say {
		p.print("S:", greeting...)
	}
}

func (p *player) dial(port int) net.Conn {
	p.tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(p.tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		p.tb.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(playTimeout)); err != nil {
		p.tb.Fatal(err)
	}
	return conn
}

func (p *player) write(text string) {
	p.tb.Helper()
	_, _ = io.WriteString(p.ctrl.conn, text) // reading notices when the session has ended
}

// send sends commands in one packet and reads a reply to each. With several, a
// final reply follows a 1xx at once.
func (p *player) send(commands []string) {
	p.tb.Helper()
	p.write(strings.Join(commands, "\r\n") + "\r\n")
	for range commands {
		p.answer()
		if len(commands) > 1 {
			p.settle()
		}
		if p.ctrl.over {
			return
		}
	}
}

// answer reads a reply and follows it.
func (p *player) answer() {
	p.tb.Helper()
	lines := p.reply()
	p.print("S:", lines...)
	if strings.HasPrefix(lines[len(lines)-1], "1") {
		p.ctrl.pending = true
	}
	if p.ctrl.port != 0 && !p.ctrl.silent {
		p.ctrl.data = append(p.ctrl.data, p.dial(p.ctrl.port))
		p.seq = 0
	}
}

// passive is a reply with a port.
var passive = regexp.MustCompile(`\(\|\|\|(\d+)\|\)$|,(\d+),(\d+)\)$`)

// dataPort is the port in a reply, 0 if there is none.
func dataPort(line string) int {
	m := passive.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	if m[1] != "" {
		port, _ := strconv.Atoi(m[1])
		return port
	}
	hi, _ := strconv.Atoi(m[2])
	lo, _ := strconv.Atoi(m[3])
	return hi*256 + lo
}

// settle reads the reply that follows a 1xx.
func (p *player) settle() {
	if p.ctrl != nil && p.ctrl.pending && !p.ctrl.over {
		p.ctrl.pending = false
		p.print("S:", p.reply()...)
	}
}

// reply reads one reply, of one line or more, and makes it normal.
func (p *player) reply() []string {
	p.tb.Helper()
	var lines []string
	p.ctrl.port = 0
	for {
		line, err := p.ctrl.r.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.tb.Fatalf("no answer; so far:\n%s", p.out.String())
		}
		if err != nil {
			p.ctrl.over = true
			return append(lines, "<end>")
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if isFinal(line) || len(line) > 3 && line[0] == '1' && line[3] == ' ' {
			break
		}
	}
	p.ctrl.port = dataPort(lines[len(lines)-1])
	for i, line := range lines {
		lines[i] = p.normal(line)
	}
	if len(lines) > 3 && strings.HasPrefix(lines[0], "211- ") {
		slices.Sort(lines[1 : len(lines)-1]) // a directory has its own order
	}
	return lines
}

func (p *player) print(kind string, lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(&p.out, kind, p.normal(line))
	}
}

// normal replaces what differs from run to run.
func (p *player) normal(line string) string {
	line = strings.ReplaceAll(line, p.s.Dir(), "$DIR")
	line = strings.ReplaceAll(line, filepath.Dir(p.s.Dir()), "$PARENT")
	for _, r := range variable {
		line = r.re.ReplaceAllStringFunc(line, func(m string) string {
			if r.when != nil && !r.when(m) {
				return m
			}
			return r.re.ReplaceAllString(m, r.to)
		})
	}
	return line
}

// variable parts of replies.
var variable = []struct {
	re   *regexp.Regexp
	to   string
	when func(string) bool
}{
	{regexp.MustCompile(`^220 UFTPD [^,]*,`), "220 UFTPD VERSION,", nil},
	{regexp.MustCompile(`\(\|\|\|\d+\|\)`), "(|||PORT|)", nil},
	{regexp.MustCompile(`^(227 .*),\d+,\d+\)$`), "$1,P,P)", nil},
	{regexp.MustCompile(`^ (d[rwx-]{3}) \d+ `), " $1 SIZE ", nil},
	{regexp.MustCompile(`size=\d+;(modify=\w+;type=dir)`), "size=SIZE;$1", nil},
	{regexp.MustCompile(`(d[rwx-]{3}------   3 dummy dummy) \d+`), "$1 SIZE", nil},
	{regexp.MustCompile(`modify=\d{14}`), "modify=NOW", func(m string) bool {
		t, err := time.Parse("modify=20060102150405", m)
		return err == nil && time.Since(t).Abs() < 24*time.Hour
	}},
	{regexp.MustCompile(` \d{10}000 `), " NOW ", func(m string) bool {
		ms, _ := strconv.ParseInt(strings.TrimSpace(m), 10, 64)
		return time.Since(time.UnixMilli(ms)).Abs() < time.Hour
	}},
	{regexp.MustCompile(`^( d\S{3} SIZE) \S+ /$`), "$1 TIME /", nil},
	{regexp.MustCompile(`modify=\w+(;type=dir;.*; /)$`), "modify=TIME$1", nil},
	{regexp.MustCompile(` [A-Z][a-z]{2} \d\d \d\d:\d\d `), " NOW ", nil},
	{regexp.MustCompile(`process-ID=\d+`), "process-ID=ID", nil},
}

// pattern is n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// summary shows short texts as they are and others by length and hash.
func summary(b []byte) string {
	if len(b) <= 400 {
		return strconv.QuoteToASCII(string(b))
	}
	sum := md5.Sum(b)
	return fmt.Sprintf("%d bytes, MD5 %x", len(b), sum)
}

func (p *player) show(name string) string {
	fi, err := os.Stat(filepath.Join(p.s.Dir(), name))
	if err != nil {
		return name + ": " + errnoText(err)
	}
	if fi.IsDir() {
		return fmt.Sprintf("%s: directory %o", name, fi.Mode().Perm())
	}
	b, err := os.ReadFile(filepath.Join(p.s.Dir(), name))
	if err != nil {
		p.tb.Fatal(err)
	}
	return fmt.Sprintf("%s: %o %s", name, fi.Mode().Perm(), summary(b))
}
