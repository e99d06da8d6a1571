package uftp

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// oauthEarly is how long before its end an access token is renewed, or half
	// its life if that is less: it has to survive the journey and slow clocks.
	oauthEarly = 30 * time.Second
	// oauthUnknownLife is for servers that do not say how long a token lives.
	oauthUnknownLife = 5 * time.Minute
	// oauthGrace is how long a renewal goes on after its caller was cancelled:
	// the answer may hold a new refresh token, and the old one may be void.
	oauthGrace = 5 * time.Second
)

// OAuthRefresh gets access tokens from an OAuth 2.0 token endpoint with a
// refresh token (RFC 6749, section 6). An access token is kept until shortly
// before it ends, or until the auth service refuses it. If the endpoint hands
// out a new refresh token, that is used from then on; it lives in this value
// (and in what [MarshalAccess] makes of it) only.
//
// Within [Authenticate] and [ServerInfo] the token endpoint is reached with the
// dialer, proxies and time limit of the auth request. Its certificate may come
// from the CA bundle or from the system's roots, as identity providers often
// have a public one. Insecure covers it only on the auth service's own host.
//
// An OAuthRefresh must not be copied after its first use.
type OAuthRefresh struct {
	TokenURL     string // https
	ClientID     string
	ClientSecret Secret // empty for a public client
	RefreshToken Secret

	mu     sync.Mutex // guards what follows; not held while talking to the endpoint
	flight *oauthFlight
	// learned is replaced, never changed. It is a pointer also because fmt does
	// not look behind pointers.
	learned *oauthLearned
}

// oauthLearned is what the token endpoint answered last.
type oauthLearned struct {
	access   Secret
	obtained time.Time // wall clock
	renewAt  time.Time
	refresh  Secret // empty: the one configured is still good
	inBody   bool   // the endpoint wants client id and secret in the body
}

// oauthFlight is one conversation with the token endpoint. Its results are
// read after done is closed.
type oauthFlight struct {
	done      chan struct{}
	access    Secret
	err       error
	cancelled bool // err is about the caller who led, not about the endpoint
}

// Authorize implements [Credential].
func (c *OAuthRefresh) Authorize(ctx context.Context, req *http.Request) error {
	token, err := c.accessToken(ctx)
	if err != nil {
		return err
	}
	return setBearer(req, token, "the access token from "+strconv.Quote(safeURLText(c.TokenURL)))
}

// accessToken returns the token at hand, or waits for the renewal under way,
// or leads one.
func (c *OAuthRefresh) accessToken(ctx context.Context) (Secret, error) {
	for {
		c.mu.Lock()
		if l := c.learned; l != nil && l.fresh(time.Now()) {
			c.mu.Unlock()
			return l.access, nil
		}
		flight := c.flight
		if flight == nil {
			flight = &oauthFlight{done: make(chan struct{})}
			c.flight = flight
			from := c.learned
			c.mu.Unlock()
			c.lead(ctx, flight, from)
			return flight.access, flight.err
		}
		c.mu.Unlock()

		select {
		case <-flight.done:
			if !flight.cancelled {
				return flight.access, flight.err
			}
		case <-ctx.Done():
			return "", contextError(ctx)
		}
	}
}

func (l *oauthLearned) fresh(now time.Time) bool {
	now = now.Round(0) // see SSHKey.current
	return l.access != "" && !now.Before(l.obtained) && now.Before(l.renewAt)
}

// lead renews the token for everybody who waits for flight.
func (c *OAuthRefresh) lead(ctx context.Context, flight *oauthFlight, from *oauthLearned) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(oauthGrace, cancel) })
	defer stop()

	learned, err := c.renew(own, from)

	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.learned, flight.access = learned, learned.access
	} else {
		flight.err, flight.cancelled = err, ctx.Err() != nil
		if flight.cancelled {
			flight.err = contextError(ctx)
		}
	}
	c.flight = nil
	close(flight.done)
}

// renew asks the endpoint, with the client's secret in the header as RFC 6749
// wants it, then in the body as some servers do.
func (c *OAuthRefresh) renew(ctx context.Context, from *oauthLearned) (*oauthLearned, error) {
	ask := oauthRequest{
		tokenURL: c.TokenURL, clientID: c.ClientID, clientSecret: c.ClientSecret, refreshToken: c.RefreshToken,
		inBody: c.ClientSecret == "",
	}
	if from != nil {
		ask.inBody = from.inBody
		if from.refresh != "" {
			ask.refreshToken = from.refresh
		}
	}
	reply, err := ask.send(ctx)
	if err != nil && !ask.inBody && isInvalidClient(err) {
		ask.inBody = true
		reply, err = ask.send(ctx)
	}
	if err != nil {
		return nil, err
	}
	now := time.Now().Round(0)
	learned := &oauthLearned{
		access:   reply.access,
		obtained: now,
		renewAt:  now.Add(reply.life - min(oauthEarly, reply.life/2)),
		inBody:   ask.inBody,
	}
	switch {
	case reply.refresh != "" && reply.refresh != c.RefreshToken:
		learned.refresh = reply.refresh
	case reply.refresh == "" && from != nil:
		learned.refresh = from.refresh
	}
	return learned, nil
}

// forget implements forgetter: a token may be revoked before its time.
func (c *OAuthRefresh) forget(refused *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.learned == nil {
		return false
	}
	if refused.Header.Get("Authorization") != "Bearer "+c.learned.access.Reveal() {
		return true // somebody renewed it in the meantime
	}
	if started, ok := refused.Context().Value(exchangeStart{}).(time.Time); !ok || !c.learned.obtained.Before(started) {
		return false // it was fresh: the next one would be no better
	}
	void := *c.learned
	void.access = ""
	c.learned = &void
	return true
}

// String implements [Credential].
func (c *OAuthRefresh) String() string {
	return "refresh token of client " + strconv.Quote(c.ClientID)
}

// Format implements [fmt.Formatter].
func (c *OAuthRefresh) Format(f fmt.State, _ rune) { printSafely(f, c) }

// LogValue implements [slog.LogValuer].
func (c *OAuthRefresh) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c *OAuthRefresh) seal() (string, map[string][]byte) {
	return "oauth-refresh", map[string][]byte{
		"tokenURL":     []byte(c.TokenURL),
		"clientID":     []byte(c.ClientID),
		"clientSecret": []byte(c.ClientSecret),
		"refreshToken": []byte(c.RefreshToken),
	}
}

// sealLearned implements learner.
func (c *OAuthRefresh) sealLearned() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.learned == nil || c.learned.refresh == "" {
		return nil
	}
	return map[string][]byte{"refreshToken": []byte(c.learned.refresh)}
}

func unsealOAuthRefresh(f *sealedFields) (Credential, error) {
	c := &OAuthRefresh{
		TokenURL: f.text("tokenURL"), ClientID: f.text("clientID"),
		ClientSecret: f.secret("clientSecret"), RefreshToken: f.secret("refreshToken"),
	}
	if refresh := f.learned["refreshToken"]; len(refresh) > 0 {
		c.learned = &oauthLearned{refresh: Secret(refresh), inBody: c.ClientSecret == ""}
	}
	return c, f.check()
}
