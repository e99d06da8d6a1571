package uftp

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

// expectTime is how long an upload waits for the service to say that it wants it.
const expectTime = 2 * time.Second

// httpStream is an answer that is read as it comes. It ends when nothing moves for
// as long as a whole exchange may take.
type httpStream struct {
	ex     exchange
	res    *http.Response
	redact redactor
	ctx    context.Context // of the exchange, which this is
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// stream sends a request to r.AuthURL itself, with body if that is not nil, and
// returns the answer, whatever its status, when its head has come. A request
// without a body is repeated as [AuthRequest.send] does.
func (r AuthRequest) stream(ctx context.Context, op, method string, body *httpUpload, header http.Header) (*httpStream, error) {
	ex := exchange{op: op, path: safeURLText(r.AuthURL), who: r.Access.credential().String()}
	via, tokens, err := r.transports(r.AuthURL)
	if err != nil {
		return nil, ex.fail(err, 0, "")
	}
	via.DisableCompression, via.ExpectContinueTimeout = true, expectTime
	ex.via = via
	s := &httpStream{ex: ex, limit: defaultHTTPTimeout}
	if r.HTTPTimeout > 0 {
		s.limit = r.HTTPTimeout
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithValue(
		context.WithValue(ctx, tokenTransports{}, tokens), exchangeStart{}, time.Now().Round(0)))
	s.timer = time.AfterFunc(s.limit, func() {
		s.cancel(fmt.Errorf("%w: silent for %v", ErrUnavailable, s.limit))
	})
	for again := body == nil; ; again = false {
		err := s.send(r, method, body, header)
		if err != nil {
			s.close()
			return nil, err
		}
		if !again || !r.tryAgain(&result{req: s.res.Request, status: s.res.StatusCode}) {
			return s, nil
		}
		_ = s.res.Body.Close()
	}
}

func (s *httpStream) send(r AuthRequest, method string, body *httpUpload, header http.Header) error {
	r.accept = "*/*"
	req, err := r.build(s.ctx, method, r.AuthURL, nil)
	if err != nil {
		return s.ex.fail(err, 0, "")
	}
	maps.Copy(req.Header, header)
	if body != nil {
		body.tick = s.tick
		req.Body, req.ContentLength, req.GetBody = body, body.size, nil
		if body.size == 0 {
			req.Body = http.NoBody
		} else {
			req.Header.Set("Expect", "100-continue")
		}
	}
	s.redact = newRedactor(req)
	res, err := s.ex.via.RoundTrip(req) //nolint:bodyclose // close does
	if err != nil {
		return s.failure(err)
	}
	res.Request = req
	s.res = res
	s.tick()
	return nil
}

// tick says that something moved.
func (s *httpStream) tick() { s.timer.Reset(s.limit) }

// Read implements io.Reader.
func (s *httpStream) Read(p []byte) (int, error) {
	n, err := s.res.Body.Read(p)
	if n > 0 {
		s.tick()
	}
	return n, err
}

// failure is the error for a stream that broke.
func (s *httpStream) failure(err error) error {
	status := 0
	if s.res != nil {
		status = s.res.StatusCode
	}
	return s.ex.failTransport(s.ctx, err, status, s.redact)
}

// refused is the error for an answer that is one; unauthorized makes the cause of
// a 401, which is about the share and not about the credential.
func (s *httpStream) refused(unauthorized func(said string) error) error {
	text, err := io.ReadAll(io.LimitReader(s, maxHTTPBody))
	if err != nil {
		return s.failure(err)
	}
	res := &result{req: s.res.Request, status: s.res.StatusCode, header: s.res.Header, body: text, redact: s.redact}
	said := serverText(res)
	if res.status == http.StatusUnauthorized {
		return s.ex.fail(unauthorized(said), res.status, s.redact.text(said))
	}
	if cause := refusalOf(said); res.status >= 500 && cause != nil {
		return s.ex.fail(cause, res.status, s.redact.text(said))
	}
	return s.ex.failStatus(res)
}

// close ends the exchange.
func (s *httpStream) close() {
	s.timer.Stop()
	s.cancel(nil)
	if s.res != nil {
		_ = s.res.Body.Close()
	}
	s.ex.via.CloseIdleConnections()
}
