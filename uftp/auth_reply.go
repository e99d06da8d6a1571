package uftp

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// failStatus turns an answer other than 200 into an error.
func (ex exchange) failStatus(res *result) error {
	if res.status >= 300 && res.status < 400 {
		return ex.fail(redirectCause(res), res.status, "")
	}
	said := ""
	// What 401 and 403 say is the framework's, not the service's.
	if res.status != http.StatusUnauthorized && res.status != http.StatusForbidden {
		said = serverText(res)
	}
	return ex.fail(ex.statusCause(res.status, said), res.status, res.redact.text(said))
}

// statusCause is the table of uftp's HTTP statuses, with those that gateways
// and proxies add.
func (ex exchange) statusCause(status int, said string) error {
	switch status {
	case http.StatusBadRequest:
		return fs.ErrInvalid
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the server has no account for this identity: %s", ErrAuth, ex.who)
	case http.StatusForbidden:
		return fmt.Errorf("%w: wrong, expired or not allowed to use this server: %s", ErrAuth, ex.who)
	case http.StatusNotFound:
		return fs.ErrNotExist
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		return fmt.Errorf("%w: this does not look like an auth service's URL", ErrProtocol)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return ErrUnavailable
	case statusSessionExpired:
		return fmt.Errorf("%w: the server insists on a security session that does not exist", ErrAuth)
	}
	if status >= 500 {
		return refusalCause(said)
	}
	return fmt.Errorf("%w: unexpected HTTP status", ErrProtocol)
}

// statusSessionExpired is UNICORE's own: repeat the request with credentials.
const statusSessionExpired = 432

// refusalCause tells the one reason that passes when the user's other sessions
// end from all others. The text is UFTPD's, passed on by the auth service.
func refusalCause(said string) error {
	if strings.Contains(strings.ToLower(said), "too many active") {
		return ErrBusy
	}
	return ErrUnavailable
}

// redirectCause names the host we were sent to, and nothing else of the
// address: the server may have put anything there.
func redirectCause(res *result) error {
	target := "another page"
	if u, err := url.Parse(res.header.Get("Location")); err == nil && u.Host != "" {
		target = strconv.Quote(res.redact.text(u.Host))
	}
	return fmt.Errorf("%w: redirected to %s, which is not followed with credentials; correct the URL", ErrProtocol, target)
}

// serverText is what an error answer says in words: the message of the service's
// JSON, or plain text as proxies send it; nothing of HTML pages.
func serverText(res *result) string {
	var body struct {
		ErrorMessage string `json:"errorMessage"`
		Reason       string `json:"reason"`
		Message      string `json:"message"`
	}
	if json.Unmarshal(res.body, &body) == nil {
		return firstOf(body.ErrorMessage, body.Reason, body.Message)
	}
	if kind, _, err := mime.ParseMediaType(res.header.Get("Content-Type")); err == nil && kind == "text/plain" {
		return string(res.body)
	}
	return ""
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}

// loginReply is the success answer of POST /rest/auth/NAME.
type loginReply struct {
	Success    *bool   `json:"success"`
	Reason     string  `json:"reason"`
	ServerHost string  `json:"serverHost"`
	ServerPort flexInt `json:"serverPort"`
	Secret     string  `json:"secret"`
}

// parseLogin reads the answer to a request for a one-time password.
func (ex exchange) parseLogin(res *result) (Login, error) {
	if res.status != http.StatusOK {
		return Login{}, ex.failStatus(res)
	}
	var r loginReply
	if err := json.Unmarshal(res.body, &r); err != nil {
		return Login{}, ex.fail(fmt.Errorf("%w: the answer is not an auth service's JSON", ErrProtocol), res.status, "")
	}
	redact := res.redact.with(r.Secret)
	// Servers of old answered 200 to everything, and said here how it went.
	if r.Success != nil && !*r.Success {
		return Login{}, ex.fail(refusalCause(r.Reason), res.status, redact.text(r.Reason))
	}
	login := Login{Host: r.ServerHost, Port: int(r.ServerPort), Password: Secret(r.Secret)}
	err := login.check()
	if r.ServerPort < 1 || r.ServerPort > 65535 {
		err = fmt.Errorf("%w: the login's port is not a port number", ErrProtocol)
	}
	if err != nil {
		return Login{}, ex.fail(err, res.status, redact.text(r.Reason))
	}
	return login, nil
}

// check makes sure that nothing in the login can disturb a control connection.
func (l Login) check() error {
	switch {
	case len(l.Addresses()) == 0:
		return fmt.Errorf("%w: the login names no server", ErrProtocol)
	case strings.ContainsFunc(l.Host, notInHost):
		return fmt.Errorf("%w: the login's server is not a host name", ErrProtocol)
	case l.Password == "":
		return fmt.Errorf("%w: the login has no one-time password", ErrProtocol)
	case strings.ContainsFunc(l.Password.Reveal(), notInPassword):
		return fmt.Errorf("%w: the login's one-time password cannot be sent", ErrProtocol)
	}
	return nil
}

// notInHost is about a list of host names and addresses: net.Dial looks up the
// rest, so this need not be exact.
func notInHost(c rune) bool {
	return c < ' ' || c == 0x7f || strings.ContainsRune(`/\"'<>()@#?&;`, c)
}

func notInPassword(c rune) bool { return c <= ' ' || c >= 0x7f }

// flexInt is a JSON number that some servers write as a string.
type flexInt int64

// UnmarshalJSON implements [json.Unmarshaler].
func (n *flexInt) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" {
		return nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = flexInt(v)
		return nil
	}
	// 3600.0 and 1e3 are integers, too.
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != float64(int64(v)) {
		return fmt.Errorf("%w: not an integer", ErrProtocol)
	}
	*n = flexInt(v)
	return nil
}
