package uftp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// DialFunc opens a connection as [net.Dialer.DialContext] does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// AuthRequest is what to ask an auth service for, and how to reach it. Only
// AuthURL is required.
type AuthRequest struct {
	// AuthURL is https://HOST:PORT/rest/auth/NAME, with a gateway's prefix
	// before /rest where there is one. NAME-2 is the second instance of NAME.
	// With /rest/access/NAME the session is for what somebody shares: see
	// [Share].
	AuthURL string
	Access  Access
	// Insecure accepts any TLS certificate of the auth service.
	Insecure bool

	// BaseDir is the directory to which the session is confined, absolute or
	// relative to the user's home, in UTF-8. If it is empty, the session is not
	// confined and starts at home.
	BaseDir string
	// SharedFile is for an AuthURL with /rest/access/: the one file in BaseDir
	// that is shared. Without it, BaseDir is a shared directory, or one below.
	SharedFile string
	// Persistent allows more than one login with the one-time password, for as
	// long as one of them lasts.
	Persistent bool
	// StreamCount is the number of TCP streams of a data connection; 0 is 1.
	StreamCount int
	// Compress asks for gzip on data connections.
	Compress bool
	// EncryptionKey, if not empty, is the key for data connections: for AES 16
	// bytes of initialisation vector and 16, 24 or 32 of key; for Blowfish up
	// to 56 bytes. It is a secret.
	EncryptionKey []byte
	// EncryptionAlgorithm is "AES" or "BLOWFISH"; empty is the latter.
	EncryptionAlgorithm string
	// Group is the Unix group to act for, one of the user's.
	Group string
	// ClientAddress lists the addresses or host names from which the session
	// will come, separated by commas or blanks, if not from the address from
	// which the auth service sees this request.
	ClientAddress string
	// UserPreferences chooses among the user's accounts and roles, as in
	// "uid:otheruser,group:project1".
	UserPreferences string

	// HTTPTimeout bounds the whole exchange; 0 is 90 s.
	HTTPTimeout time.Duration
	accept      string // media type of the answer; default JSON
	// Dial, if not nil, opens the connections to the auth service, or to the
	// proxy that the environment (HTTPS_PROXY, NO_PROXY) names for it; there is
	// none for loopback addresses.
	Dial DialFunc
}

// Login is what the auth service gives: where to log in, and the one-time
// password. It is good for 5 minutes if unused, and counts as one of the user's
// sessions from now on.
type Login struct {
	// Host is as the auth service said it: a host name, an IP address, or
	// several of them separated by commas or blanks, of which the first that
	// can be connected to is good. See [Login.Addresses].
	Host     string
	Port     int
	Password Secret

	key Secret // of data connections
}

// Addresses returns host:port for each host of l, for [net.Dial], in the order
// in which to try them.
func (l Login) Addresses() []string {
	hosts := strings.FieldsFunc(l.Host, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	for i, h := range hosts {
		hosts[i] = net.JoinHostPort(strings.Trim(h, "[]"), strconv.Itoa(l.Port))
	}
	return hosts
}

// String is host:port, without the password.
func (l Login) String() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Format implements [fmt.Formatter].
func (l Login) Format(f fmt.State, _ rune) { printSafely(f, l) }

// opAuthenticate is the Op of errors of [Authenticate].
const opAuthenticate = "authenticate"

// Authenticate gets a one-time password (POST /rest/auth/NAME). Errors are
// *[Error] with the HTTP status as Code, if there was an answer, and what the
// service said, without secrets, as Msg. Their causes are
//
//   - fs.ErrInvalid: something in the request, like a group that is not the user's
//   - [ErrAuth]: the credential was refused, or no account belongs to it
//   - fs.ErrNotExist: the service knows no such UFTPD server
//   - [ErrBusy]: the user's sessions, on all machines, are at the server's limit
//   - [ErrUntrusted]: the service's certificate was not accepted
//   - [ErrUnavailable]: auth service or UFTPD cannot be reached, are down, or
//     did not answer within HTTPTimeout
//   - [ErrProtocol]: the answer makes no sense, or is a redirect: none is
//     followed, as credentials would go with it
//   - the context's error, if it ended the request
func Authenticate(ctx context.Context, r AuthRequest) (Login, error) {
	const op = opAuthenticate
	failed := exchange{op: op, path: safeURLText(r.AuthURL)}
	endpoint, err := parseAuthURL(r.AuthURL)
	if err == nil && endpoint.name == "" {
		err = invalidAuthf("the auth URL must end in the name of a server: /rest/auth/NAME")
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return Login{}, failed.fail(err, 0, "")
	}
	fields := r.body()
	if endpoint.access {
		fields.ServerPath = r.sharedPath()
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return Login{}, failed.fail(err, 0, "")
	}
	ex, res, err := r.send(ctx, op, http.MethodPost, endpoint.server(), body)
	if err != nil {
		return Login{}, err
	}
	if endpoint.access && res.status == http.StatusUnauthorized {
		return Login{}, ex.fail(fmt.Errorf("%w: this is not shared with %s", ErrAuth, ex.who), res.status, res.redact.text(serverText(res)))
	}
	return ex.parseLogin(res)
}

// authBody is the JSON of POST /rest/auth/NAME. serverPath must be there even
// if it is empty: the server dereferences it.
type authBody struct {
	ServerPath          string `json:"serverPath"`
	Persistent          bool   `json:"persistent"`
	StreamCount         int    `json:"streamCount,omitempty"`
	Compress            bool   `json:"compress,omitempty"`
	EncryptionKey       string `json:"encryptionKey,omitempty"`
	EncryptionAlgorithm string `json:"encryptionAlgorithm,omitempty"`
	Group               string `json:"group,omitempty"`
	Client              string `json:"client,omitempty"`
}

func (r AuthRequest) body() authBody {
	return authBody{
		ServerPath:          r.BaseDir,
		Persistent:          r.Persistent,
		StreamCount:         r.StreamCount,
		Compress:            r.Compress,
		EncryptionKey:       base64.StdEncoding.EncodeToString(r.EncryptionKey),
		EncryptionAlgorithm: strings.ToUpper(r.EncryptionAlgorithm),
		Group:               r.Group,
		Client:              r.ClientAddress,
	}
}

// sessionModeTag is what old clients append to serverPath. Servers remove it,
// and so give another directory than the one asked for.
const sessionModeTag = "___UFTP___MULTI___FILE___SESSION___MODE___"

// sharedPath is serverPath for shares: the shared file, or something in the
// shared directory, since it is the parent of serverPath that becomes the base.
func (r AuthRequest) sharedPath() string {
	if r.SharedFile != "" {
		return path.Join(r.BaseDir, r.SharedFile)
	}
	return path.Join(r.BaseDir, sessionModeTag)
}

// check refuses what the auth service would pass on to UFTPD as other lines of
// its request (which is key=value, a line each), or misunderstand.
func (r AuthRequest) check() error {
	switch {
	case strings.ContainsAny(r.BaseDir, "\r\n\x00"):
		return invalidAuthf("the base directory has a line break or NUL in it, which the protocol cannot carry")
	case !utf8.ValidString(r.BaseDir):
		return invalidAuthf("the base directory is not UTF-8, which the protocol needs")
	case path.Base(r.BaseDir) == sessionModeTag:
		return invalidAuthf("the base directory cannot be one named %s", sessionModeTag)
	case hasControlChar(r.SharedFile) || strings.Contains(r.SharedFile, "/") || !utf8.ValidString(r.SharedFile):
		return invalidAuthf("the shared file is not a file's name")
	case hasControlChar(r.Group) || !utf8.ValidString(r.Group):
		return invalidAuthf("the group is not a group's name")
	case hasControlChar(r.ClientAddress) || !utf8.ValidString(r.ClientAddress):
		return invalidAuthf("the client address is not a list of addresses")
	case r.StreamCount < 0:
		return invalidAuthf("the number of streams is negative")
	}
	if err := checkPreferences(r.UserPreferences); err != nil {
		return err
	}
	return checkEncryption(strings.ToUpper(r.EncryptionAlgorithm), len(r.EncryptionKey))
}

func checkPreferences(list string) error {
	if list == "" {
		return nil
	}
	for item := range strings.SplitSeq(list, ",") {
		if hasControlChar(item) || strings.Count(item, ":") != 1 {
			return invalidAuthf("user preferences must look like uid:NAME,group:NAME")
		}
	}
	return nil
}

func checkEncryption(algorithm string, keyLen int) error {
	switch {
	case algorithm != "" && algorithm != "AES" && algorithm != "BLOWFISH":
		return invalidAuthf("the encryption algorithm must be AES or BLOWFISH")
	case algorithm != "" && keyLen == 0:
		return invalidAuthf("encryption needs a key")
	case algorithm == "AES" && keyLen != 32 && keyLen != 40 && keyLen != 48:
		return invalidAuthf("an AES key must have 32, 40 or 48 bytes, the first 16 being the initialisation vector")
	case algorithm != "AES" && keyLen > 56:
		return invalidAuthf("a Blowfish key must have at most 56 bytes")
	}
	return nil
}

// send talks to the auth service, up to twice: once more with the credential if
// a security session is said to have expired, or with a new access token if the
// one at hand was refused.
func (r AuthRequest) send(ctx context.Context, op, method, target string, body []byte) (exchange, *result, error) {
	ex := exchange{op: op, path: target, who: r.Access.credential().String()}
	if len(r.EncryptionKey) > 0 {
		ex.secrets = []string{string(r.EncryptionKey), base64.StdEncoding.EncodeToString(r.EncryptionKey)}
	}
	via, tokens, err := r.transports(target)
	if err != nil {
		return ex, nil, ex.fail(err, 0, "")
	}
	defer via.CloseIdleConnections()
	ex.via = via
	ex.build = func(ctx context.Context) (*http.Request, error) {
		return r.build(ctx, method, target, body)
	}

	ctx, cancel := withHTTPTimeout(ctx, r.HTTPTimeout)
	defer cancel()
	ctx = context.WithValue(ctx, tokenTransports{}, tokens)
	ctx = context.WithValue(ctx, exchangeStart{}, time.Now().Round(0))
	res, err := ex.do(ctx)
	if err == nil && r.tryAgain(res) {
		res, err = ex.do(ctx)
	}
	return ex, res, err
}

// exchangeStart is the context key of the time at which an exchange with the
// auth service began.
type exchangeStart struct{}

func (r AuthRequest) tryAgain(res *result) bool {
	switch res.status {
	case statusSessionExpired:
		return true
	case http.StatusUnauthorized, http.StatusForbidden:
		f, ok := r.Access.credential().(forgetter)
		return ok && f.forget(res.req)
	}
	return false
}

func (r AuthRequest) build(ctx context.Context, method, target string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, invalidAuthf("the auth URL is not a URL")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	if r.UserPreferences != "" {
		req.Header.Set("X-UNICORE-User-Preferences", r.UserPreferences)
	}
	return req, r.Access.credential().Authorize(ctx, req)
}

// transports makes the way to the auth service and says which to take to a
// token endpoint: the same one if it is on the same host, else one that trusts
// the CA bundle and the system's roots and is never insecure.
func (r AuthRequest) transports(target string) (*http.Transport, tokenTransportFunc, error) {
	var roots *x509.CertPool
	if len(r.Access.CABundle) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(r.Access.CABundle) {
			return nil, nil, invalidAuthf("the CA bundle holds no certificate in PEM format")
		}
	}
	via := newTransport(tlsTrust(roots, r.Insecure), r.Dial)
	tokens := func(endpoint *url.URL) (*http.Transport, func()) {
		if u, err := url.Parse(target); err == nil && strings.EqualFold(u.Hostname(), endpoint.Hostname()) {
			return via, func() {}
		}
		both := roots
		if system, err := x509.SystemCertPool(); err == nil && roots != nil {
			system.AppendCertsFromPEM(r.Access.CABundle)
			both = system
		}
		other := newTransport(tlsTrust(both, false), r.Dial)
		return other, other.CloseIdleConnections
	}
	return via, tokens, nil
}

// String names the service and whose access is used, without secrets.
func (r AuthRequest) String() string {
	return fmt.Sprintf("%s at %q", r.Access, safeURLText(r.AuthURL))
}

// Format implements [fmt.Formatter]: the encryption key is a plain slice.
func (r AuthRequest) Format(f fmt.State, _ rune) { printSafely(f, r) }

// LogValue implements [slog.LogValuer].
func (r AuthRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }
