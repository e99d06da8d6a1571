package uftp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// defaultHTTPTimeout has room for an auth service that waits for a slow
	// identity provider or, up to 60 s, for a UFTPD.
	defaultHTTPTimeout = 90 * time.Second
	// maxHTTPBody bounds an answer, in bytes, after decompression.
	maxHTTPBody   = 1 << 20
	maxHTTPHeader = 64 << 10
)

// exchange is one request to an HTTP service and what its errors are about.
type exchange struct {
	op, path string // for Error
	who      string // the credential, if the service is to judge it
	via      *http.Transport
	build    func(ctx context.Context) (*http.Request, error)
	secrets  []string // in the request, outside of its Authorization header
}

// result is an answer of whatever status.
type result struct {
	req    *http.Request
	status int
	header http.Header
	body   []byte
	redact redactor
}

// do sends the request and reads the answer. Its errors are *Error.
func (ex exchange) do(ctx context.Context) (*result, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = withHTTPTimeout(ctx, 0)
		defer cancel()
	}
	req, err := ex.build(ctx)
	if err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return nil, err
		}
		return nil, ex.fail(err, 0, "")
	}
	redact := newRedactor(req, ex.secrets...)
	res, err := ex.via.RoundTrip(req)
	if err != nil {
		return nil, ex.failTransport(ctx, err, 0, redact)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxHTTPBody+1))
	// A server that sees us hang up may end its answer early, but in due form,
	// and be heard while our side of TLS is still closing.
	if err != nil || ctx.Err() != nil {
		return nil, ex.failTransport(ctx, err, res.StatusCode, redact)
	}
	if len(body) > maxHTTPBody {
		err := fmt.Errorf("%w: the answer is larger than %d bytes", ErrProtocol, maxHTTPBody)
		return nil, ex.fail(err, res.StatusCode, "")
	}
	return &result{req: req, status: res.StatusCode, header: res.Header, body: body, redact: redact}, nil
}

func (ex exchange) fail(cause error, status int, msg string) error {
	return &Error{Op: ex.op, Path: ex.path, Code: status, Msg: msg, Err: cause}
}

// failTransport is for requests without an answer. The cause is put in our own
// words, because errors of net/http may quote the bytes the server sent.
func (ex exchange) failTransport(ctx context.Context, err error, status int, redact redactor) error {
	if ctx.Err() != nil {
		return ex.fail(contextError(ctx), status, "")
	}
	return ex.fail(transportCause(err), status, redact.text(err.Error()))
}

// transportCause says what an error of the network or of TLS means and what to
// do about it.
func transportCause(err error) error {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: it is for another host; use a name that is in it", ErrUntrusted)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: it has expired or is not valid yet, or this machine's clock is wrong", ErrUntrusted)
	}
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, noRoots := errors.AsType[x509.SystemRootsError](err)
	if verification || unknown || noRoots {
		return fmt.Errorf("%w: give the CA that signed it as ca.crt / --ca-file", ErrUntrusted)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("%w: the server does not speak TLS on this port", ErrUnavailable)
	}
	return ErrUnavailable
}

// withHTTPTimeout bounds ctx such that contextError can tell our limit from the
// caller's.
func withHTTPTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		d = defaultHTTPTimeout
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w: no answer within %v", ErrUnavailable, d))
}

// contextError is why ctx is done: the caller's context error, or ErrUnavailable
// if it was withHTTPTimeout.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return ctx.Err()
}

// newTransport makes a transport for one purpose; release it with
// CloseIdleConnections. There is no http.Client around it, which would follow
// redirects: the requests carry credentials, and no auth service has reason to
// send them elsewhere.
func newTransport(trust *tls.Config, dial DialFunc) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // not for loopback
		DialContext:            dial,
		TLSClientConfig:        trust,
		MaxResponseHeaderBytes: maxHTTPHeader,
	}
}

// tlsTrust is a configuration that trusts roots, nil meaning the system's.
func tlsTrust(roots *x509.CertPool, insecure bool) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            roots,
		InsecureSkipVerify: insecure, //nolint:gosec // the user's explicit choice
	}
}

// tokenTransports is the context key under which a request to the auth service
// tells OAuthRefresh how to reach a token endpoint: a tokenTransportFunc.
type tokenTransports struct{}

type tokenTransportFunc func(endpoint *url.URL) (via *http.Transport, release func())

// tokenTransport returns the way to a token endpoint, by the settings of the
// auth request in whose context we are, else by those of the system.
func tokenTransport(ctx context.Context, endpoint *url.URL) (*http.Transport, func()) {
	if f, ok := ctx.Value(tokenTransports{}).(tokenTransportFunc); ok {
		return f(endpoint)
	}
	via := newTransport(tlsTrust(nil, false), nil)
	return via, via.CloseIdleConnections
}
