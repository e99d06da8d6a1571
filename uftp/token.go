package uftp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// TokenRequest says what kind of token [IssueToken] shall get.
type TokenRequest struct {
	// Lifetime, in whole seconds, at most what is left of the server
	// certificate's; 0 is the server's default, 5 minutes.
	Lifetime time.Duration
	// Renewable allows the token to be used for getting another.
	Renewable bool
	// Limited makes the token good for this auth service alone.
	Limited bool
}

// IssueToken asks the auth service for a token that stands for the caller, with
// the user preferences of this request (GET /rest/auth/token). It is good as a
// [BearerToken]. Of r the fields count that count for [ServerInfo]; errors are
// those of [Authenticate], fs.ErrInvalid for a lifetime that is too long.
func IssueToken(ctx context.Context, r AuthRequest, t TokenRequest) (Secret, error) {
	const op = "issue token"
	failed := exchange{op: op, path: safeURLText(r.AuthURL)}
	endpoint, err := parseAuthURL(r.AuthURL)
	if err == nil {
		err = checkPreferences(r.UserPreferences)
	}
	if err == nil && (t.Lifetime < 0 || t.Lifetime%time.Second != 0) {
		err = invalidAuthf("a token's lifetime is a number of whole seconds")
	}
	if err != nil {
		return "", failed.fail(err, 0, "")
	}
	query := url.Values{}
	if t.Lifetime > 0 {
		query.Set("lifetime", strconv.FormatInt(int64(t.Lifetime/time.Second), 10))
	}
	if t.Renewable {
		query.Set("renewable", "true")
	}
	if t.Limited {
		query.Set("limited", "true")
	}
	target := *endpoint.service.JoinPath("token")
	target.RawQuery = query.Encode()
	r.accept = "text/plain"
	ex, res, err := r.send(ctx, op, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	if res.status != http.StatusOK {
		return "", ex.failStatus(res)
	}
	token := strings.TrimSpace(string(res.body))
	if token == "" || strings.ContainsFunc(token, notInPassword) {
		return "", ex.fail(fmt.Errorf("%w: the answer is not a token", ErrProtocol), res.status, "")
	}
	return Secret(token), nil
}
