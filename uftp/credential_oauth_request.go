package uftp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxTokenLife bounds what a token endpoint may claim.
const maxTokenLife = 30 * 24 * time.Hour

// oauthRequest is one refresh request (RFC 6749, section 6).
type oauthRequest struct {
	tokenURL, clientID         string
	clientSecret, refreshToken Secret
	inBody                     bool // client id and secret go into the body
}

// oauthReply is the answer to it (section 5.1).
type oauthReply struct {
	access, refresh Secret
	life            time.Duration
}

// oauthError is an error response (section 5.2). It keeps none of its text.
type oauthError struct {
	why           string
	invalidClient bool
}

func newOAuthError(code string) *oauthError {
	switch code {
	case "invalid_grant":
		return &oauthError{why: "the refresh token is wrong, expired or revoked"}
	case "invalid_client":
		return &oauthError{why: "the client id or secret is not accepted", invalidClient: true}
	}
	return &oauthError{why: "the token endpoint refused"}
}

func (e *oauthError) Error() string { return ErrAuth.Error() + ": " + e.why }
func (e *oauthError) Unwrap() error { return ErrAuth }

func isInvalidClient(err error) bool {
	refused, ok := errors.AsType[*oauthError](err)
	return ok && refused.invalidClient
}

func (o oauthRequest) send(ctx context.Context) (oauthReply, error) {
	ex := exchange{op: "renew token", path: safeURLText(o.tokenURL), who: "client and refresh token"}
	if o.refreshToken == "" {
		return oauthReply{}, ex.fail(fmt.Errorf("%w: the refresh token is empty", ErrAuth), 0, "")
	}
	u, err := parseHTTPSURL(o.tokenURL, "the token URL")
	if err != nil {
		return oauthReply{}, ex.fail(err, 0, "")
	}
	via, release := tokenTransport(ctx, u)
	defer release()
	ex.via = via
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {o.refreshToken.Reveal()}}
	if o.inBody {
		form.Set("client_id", o.clientID)
		if o.clientSecret != "" {
			form.Set("client_secret", o.clientSecret.Reveal())
		}
	}
	ex.build = func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, invalidAuthf("the token URL is not a URL")
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		if !o.inBody {
			// Section 2.3.1: form-encoded before Basic encodes them.
			req.SetBasicAuth(url.QueryEscape(o.clientID), url.QueryEscape(o.clientSecret.Reveal()))
		}
		return req, nil
	}
	ex.secrets = []string{o.clientSecret.Reveal(), o.refreshToken.Reveal()}
	res, err := ex.do(ctx)
	if err != nil {
		return oauthReply{}, err
	}
	return parseOAuthReply(ex, res)
}

func parseOAuthReply(ex exchange, res *result) (oauthReply, error) {
	var body struct {
		AccessToken  string  `json:"access_token"`
		TokenType    string  `json:"token_type"`
		RefreshToken string  `json:"refresh_token"`
		ExpiresIn    flexInt `json:"expires_in"`
		Error        string  `json:"error"`
		Description  string  `json:"error_description"`
	}
	decodeErr := json.Unmarshal(res.body, &body)
	red := res.redact.with(body.AccessToken, body.RefreshToken)
	if decodeErr == nil && body.Error != "" {
		msg := red.text(body.Error + ": " + body.Description)
		if body.Error == "temporarily_unavailable" || body.Error == "server_error" || res.status >= 500 {
			return oauthReply{}, ex.fail(ErrUnavailable, res.status, msg)
		}
		return oauthReply{}, ex.fail(newOAuthError(body.Error), res.status, msg)
	}
	switch {
	case res.status == http.StatusUnauthorized: // whatever it says, or does not
		return oauthReply{}, ex.fail(newOAuthError("invalid_client"), res.status, "")
	case res.status != http.StatusOK:
		return oauthReply{}, ex.failStatus(res)
	case decodeErr != nil:
		return oauthReply{}, ex.fail(fmt.Errorf("%w: the token endpoint's answer is not JSON", ErrProtocol), res.status, "")
	case body.AccessToken == "":
		return oauthReply{}, ex.fail(fmt.Errorf("%w: the token endpoint's answer has no access token", ErrProtocol), res.status, "")
	case body.TokenType != "" && !strings.EqualFold(body.TokenType, "bearer"):
		return oauthReply{}, ex.fail(fmt.Errorf("%w: the token endpoint's token is not a bearer token", ErrProtocol), res.status, "")
	}
	life := oauthUnknownLife
	if n := int64(body.ExpiresIn); n > 0 {
		life = min(time.Duration(min(n, int64(maxTokenLife/time.Second)))*time.Second, maxTokenLife)
	}
	return oauthReply{access: Secret(body.AccessToken), refresh: Secret(body.RefreshToken), life: life}, nil
}
