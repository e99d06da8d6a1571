package uftp_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// oauthRig is an auth service and a token endpoint on the same host.
type oauthRig struct {
	token   func(w http.ResponseWriter, form url.Values, r *http.Request)
	accepts func(token string) bool
	asked   atomic.Int32 // token requests

	request    uftp.AuthRequest
	credential *uftp.OAuthRefresh
}

func newOAuthRig(t testing.TB) *oauthRig {
	t.Helper()
	rig := &oauthRig{accepts: func(string) bool { return true }}
	rig.request = startAuth(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			rig.asked.Add(1)
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			rig.token(w, r.PostForm, r)
			return
		}
		if !rig.accepts(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		reply(http.StatusOK, nil, goodReply)(w, r)
	})
	rig.credential = &uftp.OAuthRefresh{
		TokenURL: strings.Replace(rig.request.AuthURL, "/rest/auth/TEST", "/token", 1),
		ClientID: "id", ClientSecret: "client secret", RefreshToken: "refresh-0",
	}
	rig.request.Access.Credential = rig.credential
	return rig
}

func TestOAuthRefreshRequest(t *testing.T) {
	rig := newOAuthRig(t)
	for _, secret := range []uftp.Secret{"client secret", ""} {
		rig.credential.ClientSecret = secret
		rig.token = func(w http.ResponseWriter, form url.Values, r *http.Request) {
			want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh-0"}}
			id, password, basic := r.BasicAuth()
			if secret == "" {
				want.Set("client_id", "id")
				if basic {
					t.Error("a public client authenticates")
				}
			} else if id != "id" || password != "client+secret" {
				t.Errorf("Basic authentication as %q with %q", id, password)
			}
			if form.Encode() != want.Encode() || r.Method != http.MethodPost {
				t.Errorf("%s of %v, want POST of %v", r.Method, form, want)
			}
			reply(http.StatusOK, nil, `{"access_token":"a","token_type":"bearer","expires_in":"0"}`)(w, r)
		}
		rig.accepts = func(token string) bool { return token == "a" }
		if _, err := uftp.Authenticate(t.Context(), rig.request); err != nil {
			t.Error(err)
		}
		rig.credential = &uftp.OAuthRefresh{TokenURL: rig.credential.TokenURL, ClientID: "id", RefreshToken: "refresh-0"}
		rig.request.Access.Credential = rig.credential
	}
}

func TestOAuthRefreshIsCachedAndRotates(t *testing.T) {
	rig := newOAuthRig(t)
	valid := "refresh-0"
	rig.token = func(w http.ResponseWriter, form url.Values, r *http.Request) {
		if got := form.Get("refresh_token"); got != valid {
			t.Errorf("refresh token is %q, want %q", got, valid)
		}
		n := rig.asked.Load()
		valid = fmt.Sprintf("refresh-%d", n)
		reply(http.StatusOK, nil, fmt.Sprintf(`{"access_token":"access-%d","expires_in":3600,"refresh_token":%q}`, n, valid))(w, r)
	}
	good := func(n int) func(string) bool {
		return func(token string) bool { return token == fmt.Sprintf("access-%d", n) }
	}
	authenticate := func(asked int32) {
		t.Helper()
		if _, err := uftp.Authenticate(t.Context(), rig.request); err != nil {
			t.Error(err)
		}
		if got := rig.asked.Load(); got != asked {
			t.Errorf("asked %d times for a token, want %d", got, asked)
		}
	}
	rig.accepts = good(1)
	authenticate(1)
	authenticate(1)
	rig.accepts = good(2) // the first access token is revoked
	authenticate(2)

	// What was learned travels, and does not change who it is.
	key := []byte("key")
	fingerprint := rig.request.Access.Fingerprint(key)
	rig.request.Access = must[uftp.Access](t)(uftp.UnmarshalAccess(must[[]byte](t)(uftp.MarshalAccess(rig.request.Access))))
	fresh := uftp.Access{Credential: &uftp.OAuthRefresh{
		TokenURL: rig.credential.TokenURL, ClientID: "id", ClientSecret: "client secret", RefreshToken: "refresh-0",
	}, CABundle: rig.request.Access.CABundle}
	if rig.request.Access.Fingerprint(key) != fingerprint || fresh.Fingerprint(key) != fingerprint {
		t.Error("the fingerprint depends on what was learned")
	}
	rig.accepts = good(3)
	authenticate(3)

	// A token that is refused while new is not asked for again.
	rig.request.Access = fresh
	valid = "refresh-0"
	rig.accepts = good(0)
	_, err := uftp.Authenticate(t.Context(), rig.request)
	wantError(t, err, uftp.ErrAuth, http.StatusForbidden, "")
	if got := rig.asked.Load(); got != 4 {
		t.Errorf("asked %d times for a token, want 4", got)
	}
}

func TestOAuthRefreshSecretInBody(t *testing.T) {
	rig := newOAuthRig(t)
	var styles []bool
	rig.token = func(w http.ResponseWriter, form url.Values, r *http.Request) {
		_, _, basic := r.BasicAuth()
		styles = append(styles, basic)
		if form.Get("client_secret") != "client secret" {
			reply(http.StatusUnauthorized, nil, `{"error":"invalid_client"}`)(w, r)
			return
		}
		reply(http.StatusOK, nil, `{"access_token":"a","expires_in":3600}`)(w, r)
	}
	for range 2 {
		if _, err := uftp.Authenticate(t.Context(), rig.request); err != nil {
			t.Error(err)
		}
		rig.accepts = func(string) bool { return len(styles) > 2 } // ask once more
	}
	if want := []bool{true, false, false}; !slices.Equal(styles, want) {
		t.Errorf("Basic authentication was used in %v, want %v", styles, want)
	}
}

func TestOAuthRefreshErrors(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		cause  error
		msg    string
	}{
		{"revoked", 400, `{"error":"invalid_grant","error_description":"Token is not active"}`, uftp.ErrAuth, "invalid_grant: Token is not active"},
		{"client", 401, `{"error":"invalid_client"}`, uftp.ErrAuth, "invalid_client:"},
		{"client, without words", 401, ``, uftp.ErrAuth, ""},
		{"not for this client", 400, `{"error":"unauthorized_client"}`, uftp.ErrAuth, "unauthorized_client:"},
		{"error with 200", 200, `{"error":"invalid_grant"}`, uftp.ErrAuth, "invalid_grant:"},
		{"temporarily", 400, `{"error":"temporarily_unavailable"}`, uftp.ErrUnavailable, "temporarily_unavailable:"},
		{"forbidden", 403, ``, uftp.ErrAuth, ""},
		{"gateway", 502, `<html>`, uftp.ErrUnavailable, ""},
		{"gone", 404, `{"message":"no"}`, fs.ErrNotExist, "no"},
		{"redirect", 302, ``, uftp.ErrProtocol, ""},
		{"no JSON", 200, `<html>`, uftp.ErrProtocol, ""},
		{"no token", 200, `{}`, uftp.ErrProtocol, ""},
		{"other type of token", 200, `{"access_token":"a","token_type":"mac"}`, uftp.ErrProtocol, ""},
		{"life is none", 200, `{"access_token":"a","expires_in":"soon"}`, uftp.ErrProtocol, ""},
		{"token is none", 200, `{"access_token":"a b"}`, uftp.ErrAuth, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rig := newOAuthRig(t)
			rig.token = func(w http.ResponseWriter, _ url.Values, r *http.Request) { reply(tt.status, nil, tt.body)(w, r) }
			_, err := uftp.Authenticate(t.Context(), rig.request)
			e, ok := errors.AsType[*uftp.Error](err)
			if !ok || !errors.Is(err, tt.cause) || e.Msg != tt.msg {
				t.Errorf("error is %v, want %v with %q", err, tt.cause, tt.msg)
			}
			if ok && tt.name != "token is none" && (e.Op != "renew token" || e.Path != rig.credential.TokenURL) {
				t.Errorf("error is %v, want it to be about the token endpoint", err)
			}
		})
	}
}

func TestOAuthRefreshInvalid(t *testing.T) {
	for _, tt := range []struct {
		change func(*uftp.OAuthRefresh)
		cause  error
	}{
		{func(c *uftp.OAuthRefresh) { c.TokenURL = "" }, fs.ErrInvalid},
		{func(c *uftp.OAuthRefresh) { c.TokenURL = "http://idp.example/token" }, fs.ErrInvalid},
		{func(c *uftp.OAuthRefresh) { c.TokenURL = "https://id:MARK@idp.example/token" }, fs.ErrInvalid},
		{func(c *uftp.OAuthRefresh) { c.RefreshToken = "" }, uftp.ErrAuth},
	} {
		c := &uftp.OAuthRefresh{TokenURL: "https://idp.example/token", ClientID: "id", ClientSecret: "MARK", RefreshToken: "MARK"}
		tt.change(c)
		if _, err := tryBearer(t, c); !errors.Is(err, tt.cause) || strings.Contains(err.Error(), "MARK") {
			t.Errorf("error is %v, want %v without a secret", err, tt.cause)
		}
	}
}

// TestOAuthRefreshConcurrently renews once for many, and goes on although the
// caller who asked first gives up: the answer may hold the next refresh token.
func TestOAuthRefreshConcurrently(t *testing.T) {
	rig := newOAuthRig(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	rig.token = func(w http.ResponseWriter, _ url.Values, r *http.Request) {
		close(asked)
		<-answer
		reply(http.StatusOK, nil, `{"access_token":"a","expires_in":3600}`)(w, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var leader, follower error
	var wg sync.WaitGroup
	wg.Go(func() { _, leader = uftp.Authenticate(ctx, rig.request) })
	<-asked
	wg.Go(func() { _, follower = uftp.Authenticate(ctx, rig.request) })
	cancel()
	var others [4]error
	for i := range others {
		wg.Go(func() { _, others[i] = uftp.Authenticate(t.Context(), rig.request) })
	}
	close(answer)
	wg.Wait()
	if !errors.Is(leader, context.Canceled) || !errors.Is(follower, context.Canceled) {
		t.Errorf("errors of cancelled callers are %v and %v", leader, follower)
	}
	if err := errors.Join(others[:]...); err != nil || rig.asked.Load() != 1 {
		t.Errorf("asked %d times, error %v, want once and none", rig.asked.Load(), err)
	}
}

// TestOAuthRefreshSystemRoots reaches a token endpoint whose certificate is from
// the system's roots although there is a CA bundle. It runs itself anew with
// roots of ours.
func TestOAuthRefreshSystemRoots(t *testing.T) {
	const child = "UFTP_TEST_SYSTEM_ROOTS"
	system, private := newTestCA(t), newTestCA(t)
	if os.Getenv(child) != "" {
		var token, auth, bundle string
		if _, err := fmt.Sscan(os.Getenv(child), &token, &auth, &bundle); err != nil {
			t.Fatal(err)
		}
		_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{AuthURL: auth, Access: uftp.Access{
			CABundle:   must[[]byte](t)(os.ReadFile(bundle)),
			Credential: &uftp.OAuthRefresh{TokenURL: token, ClientID: "id", RefreshToken: "r"},
		}})
		if err != nil {
			t.Error(err)
		}
		return
	}
	local := func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }
	idp := system.serve(t, reply(http.StatusOK, nil, `{"access_token":"a"}`), local)
	auth := private.serve(t, reply(http.StatusOK, nil, goodReply), local)
	dir := t.TempDir()
	roots, bundle := filepath.Join(dir, "roots"), filepath.Join(dir, "bundle")
	if err := errors.Join(os.WriteFile(roots, system.pem(), 0o600), os.WriteFile(bundle, private.pem(), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOAuthRefreshSystemRoots$")
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots, "SSL_CERT_DIR="+dir+"/none",
		fmt.Sprintf("%s=%s %s/rest/auth/TEST %s", child, strings.Replace(idp.URL, "127.0.0.1", "localhost", 1), auth.URL, bundle))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestOAuthRefreshTrust reaches a token endpoint on another host: the CA bundle
// counts there, Insecure does not.
func TestOAuthRefreshTrust(t *testing.T) {
	ca, other := newTestCA(t), newTestCA(t)
	idp := ca.serve(t, reply(http.StatusOK, nil, `{"access_token":"a"}`), func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
	auth := ca.serve(t, reply(http.StatusOK, nil, goodReply), func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
	tokenURL := strings.Replace(idp.URL, "127.0.0.1", "localhost", 1) + "/token"
	for _, tt := range []struct {
		name     string
		bundle   []byte
		insecure bool
		want     error
	}{
		{"bundle", ca.pem(), false, nil},
		{"insecure only", other.pem(), true, uftp.ErrUntrusted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
				AuthURL: auth.URL + "/rest/auth/TEST", Insecure: tt.insecure,
				Access: uftp.Access{CABundle: tt.bundle, Credential: &uftp.OAuthRefresh{TokenURL: tokenURL, ClientID: "id", RefreshToken: "r"}},
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("error is %v, want %v", err, tt.want)
			}
		})
	}
}
