package uftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// reply is one reply on a control connection.
type reply struct {
	code int
	text string   // first line after the code
	body []string // lines between the first and the last
	last string   // text of the last line of a reply of several
}

// parseReplyLine parses the first line of a reply; more says that lines follow.
func parseReplyLine(line string) (r reply, more bool, err error) {
	if len(line) < 3 {
		return reply{}, false, fmt.Errorf("%w: short reply %q", ErrProtocol, line)
	}
	for _, d := range []byte(line[:3]) {
		if d < '0' || d > '9' {
			return reply{}, false, fmt.Errorf("%w: not a reply: %.100q", ErrProtocol, line)
		}
		r.code = 10*r.code + int(d-'0')
	}
	switch {
	case r.code < 100 || r.code > 599:
		return reply{}, false, fmt.Errorf("%w: reply code %d", ErrProtocol, r.code)
	case len(line) == 3:
		return r, false, nil
	case line[3] != ' ' && line[3] != '-':
		return reply{}, false, fmt.Errorf("%w: not a reply: %.100q", ErrProtocol, line)
	}
	r.text = line[4:]
	return r, line[3] == '-', nil
}

// want returns nil if the reply has the code, or any of its class if code is
// a single digit; a refusal if the server said no; ErrProtocol otherwise.
func (r reply) want(code int) error {
	switch {
	case r.code == code || code < 10 && r.code/100 == code:
		return nil
	case r.code >= 400:
		return refuse(r.code, r.text)
	default:
		return fmt.Errorf("%w: unexpected reply %d %.200q", ErrProtocol, r.code, r.text)
	}
}

// codeGoing is the code of a server that is about to close the connection, in
// place of any reply.
const codeGoing = 421

func goingDown(text string) error {
	return fmt.Errorf("%w: server closes the session (%d: %.200s)", ErrUnavailable, codeGoing, text)
}

// refusal is a negative reply. It answers the command it belongs to: the
// session is in step and can go on.
type refusal struct {
	code  int
	msg   string
	cause error
}

func (r *refusal) Error() string { return fmt.Sprintf("%v (%d: %s)", r.cause, r.code, r.msg) }
func (r *refusal) Unwrap() error { return r.cause }

// refuse turns a negative reply into an error with a cause that errors.Is
// understands. This function alone looks at the text of replies.
func refuse(code int, text string) *refusal {
	return &refusal{code: code, msg: text, cause: causeOf(code, text)}
}

// Texts of uftpd that say more than their code. "%s" texts of the server are
// cut to what does not vary.
const (
	textNoFile       = "does not exist"
	textNoCommand    = "Command not implemented"
	textNotSupported = "Unsupported"
	textBusy         = "Too many active"
	textRunning      = "Session for these credentials is already running"
	textNoData       = "'NoneType' object has no attribute"
	textClosed       = "closed file"
	textNoAddress    = "Rejecting connection"
)

// errPassword means that UFTPD does not know the one-time password (any more).
var errPassword = fmt.Errorf("%w: one-time password not valid", ErrAuth)

func causeOf(code int, text string) error {
	if n, ok := errnoIn(text); ok {
		return causeOfErrno(n)
	}
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has(textBusy), has(textRunning):
		return ErrBusy
	case has(textNoAddress):
		return fmt.Errorf("%w: this client's address is not allowed", ErrAuth)
	case code == 530 && has("no matching transfer request"):
		return errPassword
	case code == 530:
		return ErrAuth
	case code == 502, code == 504, has(textNoCommand), has(textNotSupported):
		return errors.ErrUnsupported
	case code == 501:
		return fs.ErrInvalid
	case code == 534, code == 553:
		return fs.ErrPermission
	case code == 550, code == 500 && has(textNoFile):
		return fs.ErrNotExist
	case code == 452, code == 552:
		return syscall.ENOSPC
	case code < 500, has(textNoData), has(textClosed):
		// The server is going down, or its end of the data connection died.
		return ErrUnavailable
	default:
		return ErrProtocol
	}
}

// errnoIn finds the number in Python's "[Errno 13] Permission denied".
func errnoIn(text string) (int, bool) {
	_, rest, ok := strings.Cut(text, "[Errno ")
	if !ok {
		return 0, false
	}
	num, _, ok := strings.Cut(rest, "]")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(num, 10, 16)
	return int(n), err == nil && n > 0
}

// linuxErrno has the error numbers of the server's kernel, which is Linux
// wherever we run.
var linuxErrno = map[int]syscall.Errno{ //nolint:gochecknoglobals // a table
	1: syscall.EPERM, 2: syscall.ENOENT, 5: syscall.EIO, 13: syscall.EACCES,
	16: syscall.EBUSY, 17: syscall.EEXIST, 18: syscall.EXDEV, 20: syscall.ENOTDIR,
	21: syscall.EISDIR, 22: syscall.EINVAL, 26: syscall.ETXTBSY, 27: syscall.EFBIG,
	28: syscall.ENOSPC, 29: syscall.ESPIPE, 30: syscall.EROFS, 31: syscall.EMLINK,
	36: syscall.ENAMETOOLONG, 38: syscall.ENOSYS, 39: syscall.ENOTEMPTY,
	40: syscall.ELOOP, 95: syscall.EOPNOTSUPP, 116: syscall.ESTALE, 122: syscall.EDQUOT,
}

// causeOfErrno gives the cause of an error number of the server. The number
// stays visible as a syscall.Errno.
func causeOfErrno(n int) error {
	switch n {
	case 9, 32, 103, 104, 110: // EBADF, EPIPE, ECONNABORTED, ECONNRESET, ETIMEDOUT
		return fmt.Errorf("%w: data connection lost", ErrUnavailable)
	case 11, 12, 23, 24, 105: // EAGAIN, ENOMEM, ENFILE, EMFILE, ENOBUFS
		return fmt.Errorf("%w: server short of resources (errno %d)", ErrUnavailable, n)
	}
	e, ok := linuxErrno[n]
	switch {
	case !ok:
		return fmt.Errorf("server error number %d", n)
	case e == syscall.EINVAL || e == syscall.ENAMETOOLONG:
		return fmt.Errorf("%w (%w)", fs.ErrInvalid, e)
	case e == syscall.EROFS:
		return fmt.Errorf("%w (%w)", fs.ErrPermission, e)
	}
	return e // errors.Is knows its fs.ErrNotExist, ErrExist, ErrPermission
}

// fromLibrary translates an error of the FTP library. uftpd answers 200 where
// the library waits for 250, so a positive code is success.
func fromLibrary(err error) error {
	var te *textproto.Error
	var pe textproto.ProtocolError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &te) && te.Code/100 == 2:
		return nil
	case errors.As(err, &te) && te.Code == codeGoing:
		return goingDown(te.Msg)
	case errors.As(err, &te) && te.Code >= 400:
		return refuse(te.Code, te.Msg)
	case errors.As(err, &te):
		return fmt.Errorf("%w: unexpected reply %d %.200q", ErrProtocol, te.Code, te.Msg)
	case errors.As(err, &pe):
		return fmt.Errorf("%w: %.200s", ErrProtocol, string(pe))
	}
	return lost(err)
}

// wrapError makes the error of one operation: op and path as the caller gave
// them, the server's words, and the cause.
func wrapError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // only the outermost one is complete
		return e
	}
	if r, ok := err.(*refusal); ok { //nolint:errorlint // what wraps one has more to say
		return &Error{Op: op, Path: path, Code: r.code, Msg: r.msg, Err: r.cause}
	}
	return &Error{Op: op, Path: path, Err: err}
}

// parseEPSV finds the port in "Entering Extended Passive Mode (|||46155|)".
func parseEPSV(text string) (int, error) {
	_, rest, ok := strings.Cut(text, "(")
	if ok && len(rest) >= 5 && rest[0] == rest[1] && rest[1] == rest[2] {
		num, _, ok := strings.Cut(rest[3:], rest[:1])
		if port, err := strconv.ParseUint(num, 10, 16); ok && err == nil && port > 0 {
			return int(port), nil
		}
	}
	return 0, fmt.Errorf("%w: no port in EPSV reply %.200q", ErrProtocol, text)
}

// parsePASV finds host and port in "Entering Passive Mode (127,0,0,1,148,95)".
// A dual-stack uftpd writes IPv6 addresses there, mapped ones with commas.
func parsePASV(text string) (host string, port int, err error) {
	bad := fmt.Errorf("%w: no address in PASV reply %.200q", ErrProtocol, text)
	_, rest, ok := strings.Cut(text, "(")
	if !ok {
		return "", 0, bad
	}
	rest, _, ok = strings.Cut(rest, ")")
	f := strings.Split(rest, ",")
	if !ok || len(f) < 3 {
		return "", 0, bad
	}
	hi, err1 := strconv.ParseUint(strings.TrimSpace(f[len(f)-2]), 10, 8)
	lo, err2 := strconv.ParseUint(strings.TrimSpace(f[len(f)-1]), 10, 8)
	host = strings.TrimPrefix(strings.Join(f[:len(f)-2], "."), "::ffff:")
	port = int(hi<<8 | lo) //nolint:gosec // 16 bits
	if err1 != nil || err2 != nil || port == 0 || !validHost(host) {
		return "", 0, bad
	}
	return host, port, nil
}

func validHost(host string) bool {
	odd := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("[]/", r) }
	u := url.URL{Host: "[" + host + "]"}
	return host != "" && !strings.ContainsFunc(host, odd) && u.Hostname() == host
}
