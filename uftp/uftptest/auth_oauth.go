package uftptest

import (
	"crypto/subtle"
	"net/http"
	"net/url"
)

// oauthToken is an OAuth 2.0 token endpoint (RFC 6749) for refresh tokens. The
// client authenticates with HTTP Basic or with fields of the form.
func (a *authService) oauthToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		a.journal.count(func(s *AuthStats) { s.Refused++ })
		writeJSON(w, status, map[string]any{"error": code})
	}
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request")
		return
	}
	if !a.isOAuthClient(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="uftptest"`)
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	if r.PostForm.Get("grant_type") != "refresh_token" {
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	c := a.cfg.OAuth
	access, next, ok := a.users.exchange(r.PostForm.Get("refresh_token"), c.Lifetime, c.RotateRefresh)
	if !ok {
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	a.journal.count(func(s *AuthStats) { s.Tokens++ })
	doc := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(c.Lifetime.Seconds())}
	if next != "" {
		doc["refresh_token"] = next
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, doc)
}

func (a *authService) isOAuthClient(r *http.Request) bool {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		// RFC 6749 2.3.1: both are form-encoded before they become Basic.
		var err1, err2 error
		id, err1 = url.QueryUnescape(user)
		secret, err2 = url.QueryUnescape(password)
		if err1 != nil || err2 != nil {
			return false
		}
	}
	c := a.cfg.OAuth
	return id == c.ID && subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) == 1
}
