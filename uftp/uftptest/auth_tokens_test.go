package uftptest_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestAuthIssueToken(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{
		{Name: "demo", Password: "demo-password", Groups: []string{"main", "project"}},
	}})
	client := httpClient(t, s)
	tokenURL := s.InfoURL() + "/token"
	fetch := func(query url.Values, auth string) answer {
		return call{method: "GET", url: tokenURL + "?" + query.Encode(), auth: auth,
			header: http.Header{"Accept": {"text/plain"}}}.do(t, client)
	}

	token := fetch(nil, demo)
	if token.status != 200 {
		t.Fatalf("status %d %s", token.status, token.body)
	}
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token.body, &claims); err != nil {
		t.Fatalf("the body is no bare JWT: %v", err)
	}
	exp, _ := claims.GetExpirationTime()
	if left := time.Until(exp.Time); left < 290*time.Second || left > 300*time.Second || claims["etd"] != "true" {
		t.Errorf("claims %v", claims)
	}
	if got := login(s, "Bearer "+token.body, emptyPath).do(t, client); got.status != 200 {
		t.Errorf("login with it: %d", got.status)
	}
	if got := fetch(nil, "Bearer "+token.body); got.status != 403 {
		t.Errorf("another from it: %d, want 403", got.status)
	}

	renewable := fetch(url.Values{"renewable": {"true"}, "limited": {"true"}, "lifetime": {"1000"}}, demo)
	another := fetch(nil, "Bearer "+renewable.body)
	if another.status != 200 {
		t.Fatalf("another from a renewable one: %d", another.status)
	}
	if got := login(s, "Bearer "+another.body, emptyPath).do(t, client); got.status != 200 {
		t.Errorf("login with that: %d", got.status)
	}

	bound := with(call{method: "GET", url: tokenURL, auth: demo, header: http.Header{}}, "X-UNICORE-User-Preferences", "group:project").do(t, client)
	if gid := dig(get(s.InfoURL(), "Bearer "+bound.body).do(t, client).json(t), "TEST", "gid"); gid != "project" {
		t.Errorf("group %v, want the one bound to the token", gid)
	}

	if got := fetch(url.Values{"lifetime": {"99999999999"}}, demo); got.status != 400 {
		t.Errorf("lifetime beyond the certificate's: %d, want 400", got.status)
	}
	if got := fetch(nil, ""); got.status != 403 {
		t.Errorf("anonymous: %d, want 403", got.status)
	}
	if _, err := s.IssueToken("who", time.Minute); err == nil {
		t.Error("token for an unknown user")
	}
}

func TestAuthSecuritySessions(t *testing.T) {
	const header = "X-Unicore-Securitysession"
	s := uftptest.Start(t, uftptest.Config{SecuritySessions: true})
	client := httpClient(t, s)
	got := login(s, demo, emptyPath).do(t, client)
	id := got.header.Get(header)
	if id == "" || got.header.Get(header+"-Lifetime") != "28800000" {
		t.Fatalf("headers %v", got.header)
	}
	if got := with(login(s, "", emptyPath), header, id).do(t, client); got.status != 200 {
		t.Errorf("with the session alone: %d", got.status)
	}
	if got := with(login(s, demo, emptyPath), header, "who").do(t, client); got.status != 432 || got.body != "" {
		t.Errorf("with an unknown session: %d %q", got.status, got.body)
	}
	if got := login(s, basic("demo", "wrong"), emptyPath).do(t, client); got.header.Get(header) != "" {
		t.Error("a refused request has a session")
	}
	s.ExpireSecuritySessions()
	if got := with(login(s, "", emptyPath), header, id).do(t, client); got.status != 432 {
		t.Errorf("with an expired session: %d", got.status)
	}

	off := uftptest.Start(t, uftptest.Config{})
	if got := with(login(off, demo, emptyPath), header, "who").do(t, httpClient(t, off)); got.status != 200 || got.header.Get(header) != "" {
		t.Errorf("switched off: %d %v", got.status, got.header)
	}
}

func TestAuthOAuth(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{
		Users: []uftptest.User{{Name: "demo", Refresh: []string{"refresh-1"}}},
		OAuth: uftptest.OAuthClient{ID: "client", Secret: "geheim/&+", Lifetime: time.Hour, RotateRefresh: true},
	})
	client := httpClient(t, s)
	refresh := func(token, auth string, extra url.Values) answer {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
		maps.Copy(form, extra)
		return call{method: "POST", url: s.TokenURL(), auth: auth, body: form.Encode(),
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}.do(t, client)
	}
	asFields := url.Values{"client_id": {"client"}, "client_secret": {"geheim/&+"}}
	asBasic := basic("client", url.QueryEscape("geheim/&+"))

	for _, tc := range []struct {
		name, token, auth string
		extra             url.Values
		status            int
		code              string
	}{
		{"no client", "refresh-1", "", nil, 401, "invalid_client"},
		{"wrong secret", "refresh-1", basic("client", "who"), nil, 401, "invalid_client"},
		{"unknown token", "who", asBasic, nil, 400, "invalid_grant"},
		{"unknown grant", "refresh-1", asBasic, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
	} {
		got := refresh(tc.token, tc.auth, tc.extra)
		if got.status != tc.status || got.json(t)["error"] != tc.code {
			t.Errorf("%s: %d %s", tc.name, got.status, got.body)
		}
	}

	first := refresh("refresh-1", "", asFields).json(t)
	access, _ := first["access_token"].(string)
	if first["token_type"] != "Bearer" || first["expires_in"] != float64(3600) {
		t.Errorf("answer %v", first)
	}
	if got := login(s, "Bearer "+access, emptyPath).do(t, client); got.status != 200 {
		t.Errorf("login with the access token: %d", got.status)
	}
	if got := refresh("refresh-1", asBasic, nil); got.status != 400 {
		t.Errorf("refresh token used twice: %d, want 400", got.status)
	}
	next, _ := first["refresh_token"].(string)
	if got := refresh(next, asBasic, nil); got.status != 200 || got.json(t)["access_token"] == access {
		t.Errorf("next refresh token: %d %s", got.status, got.body)
	}
	s.RevokeTokens()
	if got := login(s, "Bearer "+access, emptyPath).do(t, client); got.status != 403 {
		t.Errorf("revoked access token: %d, want 403", got.status)
	}
}
