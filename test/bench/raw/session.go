package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// session is a login with a data connection that stays open.
type session struct {
	control net.Conn
	lines   *bufio.Reader
	data    net.Conn
	trips   int64
}

// open logs in with the one-time password and opens the data connection.
func open(address, password string) (_ *session, err error) {
	s := &session{}
	if s.control, err = net.Dial("tcp", address); err != nil { //nolint:noctx // the process is ended instead
		return nil, err
	}
	s.lines = bufio.NewReaderSize(prompt{s.control}, 1<<20)
	if err := s.expect("220"); err != nil {
		return nil, err
	}
	for _, step := range []struct{ command, code string }{
		{"USER anonymous", "331"}, {"PASS " + password, "230"},
		{"KEEP-ALIVE true", "200"}, {"OPTS SENDFILE_ENABLED true", "200"}, {"EPSV", "229"},
	} {
		if step.code != "229" {
			if err := s.do(step.command, step.code); err != nil {
				return nil, err
			}
			continue
		}
		line, err := s.ask(step.command)
		if err != nil {
			return nil, err
		}
		parts := strings.Split(line, "|")
		if !strings.HasPrefix(line, "229") || len(parts) < 4 {
			return nil, fmt.Errorf("EPSV: %s", line)
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if s.data, err = net.Dial("tcp", net.JoinHostPort(host, parts[3])); err != nil { //nolint:noctx // as above
			return nil, err
		}
	}
	return s, nil
}

// prompt reads a connection and has the kernel acknowledge at once what comes: the
// server leaves Nagle's algorithm on, and sends nothing more until its last line,
// or the last bytes of a range, are acknowledged.
type prompt struct{ net.Conn }

func (p prompt) Read(b []byte) (int, error) {
	raw, err := p.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
	if err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// reply reads one reply and returns its last line; each gets the lines before.
func (s *session) reply(each func(string)) (string, error) {
	first := ""
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case first == "" && (len(line) < 4 || line[3] != '-'):
			return line, nil
		case first == "":
			first = line[:3]
		case strings.HasPrefix(line, first+" "):
			return line, nil
		case each != nil:
			each(line)
		}
	}
}

func (s *session) expect(code string) error {
	line, err := s.reply(nil)
	if err == nil && !strings.HasPrefix(line, code) {
		err = errors.New(line)
	}
	return err
}

func (s *session) ask(command string) (string, error) {
	s.trips++
	if _, err := s.control.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	return s.reply(nil)
}

func (s *session) do(command, code string) error {
	line, err := s.ask(command)
	if err == nil && !strings.HasPrefix(line, code) {
		verb, _, _ := strings.Cut(command, " ") // PASS has a secret behind it
		err = fmt.Errorf("%s: %s", verb, line)
	}
	return err
}

// entry is a line of a listing.
type entry struct {
	name string
	dir  bool
	size int64
}

// list reads a directory over the control connection: one round trip.
func (s *session) list(dir string) ([]entry, error) {
	s.trips++
	if _, err := s.control.Write([]byte("STAT N " + dir + "\r\n")); err != nil {
		return nil, err
	}
	var entries []entry
	line, err := s.reply(func(line string) {
		// " -rw- SIZE MILLISECONDS NAME"
		fields := strings.SplitN(strings.TrimPrefix(line, " "), " ", 4)
		if len(fields) < 4 {
			return
		}
		size, _ := strconv.ParseInt(fields[1], 10, 64)
		entries = append(entries, entry{fields[3], fields[0][0] == 'd', size})
	})
	if err == nil && !strings.HasPrefix(line, "211") {
		err = errors.New(line)
	}
	return entries, err
}

func (s *session) close() {
	_ = s.control.Close()
	if s.data != nil {
		_ = s.data.Close()
	}
}

// sessions opens n sessions one after another: the server's listen queue is two
// deep.
func sessions(n int) ([]*session, error) {
	address, password := os.Getenv("BENCH_SERVER"), os.Getenv("UFTP_PASSWORD")
	var all []*session
	for range n {
		s, err := open(address, password)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
