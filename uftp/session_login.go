package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/jlaffaye/ftp"
)

// errNoBase means that the server accepted the password and hung up: what it
// does when the base directory is missing.
var errNoBase = fmt.Errorf("%w: the base directory is missing on the server or not accessible", fs.ErrNotExist)

// login opens a session, with a data connection if data is set and there can be
// one: that is no reason to fail. The context bounds this call, not the session's
// life. What q asks is answered when the session is there.
func (d *dialer) login(ctx context.Context, l Login, data bool, q inquiry) (*session, error) {
	begin := time.Now()
	conn, err := d.dialAny(ctx, l)
	if err != nil {
		return nil, err
	}
	s := &session{dialer: d, dialed: begin, ctl: newControl(conn, d.timeout, &d.trips), codec: d.coding.newCodec(l.key)}
	s.ctl.progress = &s.progress
	s.life, s.end = context.WithCancel(context.Background())
	data = data && s.codec == nil
	greeted := false
	err = s.run(ctx, func() (err error) {
		greeted, err = s.greet(l.Password, data, q)
		return err
	})
	if err != nil {
		s.close()
		if greeted && ctx.Err() == nil {
			return d.login(ctx, l, false, inquiry{})
		}
		return nil, err
	}
	s.ctl.stall, s.ctl.trip = d.stall, &d.trip
	s.ctl.pusher = newPusher(segmentSize(conn), &d.noPush)
	s.fresh = true
	return s, nil
}

// dialAny connects to the first of the server's addresses that answers.
func (d *dialer) dialAny(ctx context.Context, l Login) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := fmt.Errorf("%w: no server address", ErrProtocol)
	for _, addr := range l.Addresses() {
		var conn net.Conn
		conn, err = d.dial(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, err
}

// greet does what comes before the first operation, in one packet that does not
// wait for the server's greeting: the server takes its commands one after another
// from what has come, and a server that refuses the login ends the connection. It
// reports whether all but the data connection is there.
func (s *session) greet(password Secret, data bool, q inquiry) (greeted bool, err error) {
	tcp, ok := s.ctl.RemoteAddr().(*net.TCPAddr)
	if !ok { // the library would panic
		return false, fmt.Errorf("%w: not a TCP connection", errors.ErrUnsupported)
	}
	s.host = tcp.IP.String()
	if tcp.Zone != "" {
		s.host += "%" + tcp.Zone
	}
	cmds := []string{
		"USER anonymous", "PASS " + password.Reveal(), "TYPE I", "FEAT",
		"KEEP-ALIVE " + strconv.FormatBool(s.codec == nil), "OPTS SENDFILE_ENABLED true", "STAT F .",
	}
	cmds = append(cmds, q.cmds...) // before the server waits for a data connection, which some end
	passive := s.passive.Load()
	if data {
		defer s.setPhase(s.setPhase(opening))
		cmds = append(cmds, passiveVerb(passive))
	}
	if err := s.ctl.send(cmds...); err != nil {
		return false, err
	}
	s.lib, err = ftp.Dial(tcp.String(),
		ftp.DialWithDialFunc(func(string, string) (net.Conn, error) { return s.ctl, nil }),
		ftp.DialWithDisabledUTF8(true))
	if err != nil {
		return false, fromLibrary(err)
	}
	s.hello.note(time.Since(s.dialed) / 2)
	if err := s.admitted(); err != nil {
		return false, err
	}
	if err := s.settings(); err != nil {
		return false, err
	}
	if err := s.inquired(q); err != nil || !data {
		return false, err
	}
	_, err = s.connectData(passive)
	return true, err
}

// admitted reads the replies to USER and PASS.
func (s *session) admitted() error {
	user, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	if user.code != 230 {
		if err := user.want(331); err != nil {
			return err
		}
	}
	pass, err := s.ctl.readReply()
	if err != nil {
		return err
	}
	if user.code != 230 {
		if err := pass.want(230); err != nil {
			return err
		}
	}
	_, err = s.ctl.br.Peek(1)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return errNoBase
	}
	return lost(err) // silence is no answer: the directory's file system may hang
}

// inquired reads the replies to an inquiry.
func (s *session) inquired(q inquiry) error {
	if len(q.cmds) == 0 {
		return nil
	}
	replies := make([]reply, len(q.cmds))
	for i := range replies {
		var err error
		if replies[i], err = s.ctl.readReply(); err != nil {
			return err
		}
	}
	return q.take(s, replies)
}

// settings reads the replies to what greet sends after the password.
func (s *session) settings() error {
	var replies [5]reply
	for i := range replies {
		var err error
		if replies[i], err = s.ctl.readReply(); err != nil {
			return err
		}
	}
	s.rfcRang = hasInclusiveRanges(replies[1].body)
	s.keepAlive = replies[2].code == 200 && s.codec == nil
	return replies[4].want(211)
}
