package uftptest_test

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestAuthCredentials(t *testing.T) {
	rsaKey, edKey := newSSHKey(t, "rsa"), newSSHKey(t, "ed25519")
	p256, p384, p521 := newSSHKey(t, "p256"), newSSHKey(t, "p384"), newSSHKey(t, "p521")
	stranger := newSSHKey(t, "ed25519")
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{
		uftptest.DefaultUser(),
		{
			Name: "keys", Tokens: []string{"static-token"},
			Keys: []string{"# a comment", "not a key", rsaKey.line, edKey.line, p256.line, p384.line, p521.line},
		},
		{Name: "ümlaut", Password: "pässwörd: mit Doppelpunkt"},
		{Name: "nobody", Password: "pw", NoRole: true},
		{Name: "unmapped", Password: "pw", Unmapped: true},
	}})
	s.AddToken("keys", "young-token", time.Now().Add(time.Hour))
	s.AddToken("keys", "old-token", time.Now().Add(-time.Second))
	s.AddToken("ghost", "ghost-token", time.Time{})
	issue := func(lifetime time.Duration) string {
		token, err := s.IssueToken("demo", lifetime)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	client := httpClient(t, s)
	now := time.Now().Unix()

	for _, tc := range []struct {
		name   string
		auth   string
		status int
		method string
	}{
		{"password", demo, 200, "PASSWORD"},
		{"password UTF-8", basic("ümlaut", "pässwörd: mit Doppelpunkt"), 200, "PASSWORD"},
		{"wrong password", basic("demo", "wrong"), 403, ""},
		{"empty password", basic("demo", ""), 403, ""},
		{"empty password of a user without", basic("keys", ""), 403, ""},
		{"unknown user", basic("who", "demo-password"), 403, ""},
		{"garbage Basic", "Basic !!!", 403, ""},
		{"no credentials", "", 403, ""},
		{"unknown scheme", "Negotiate abc", 403, ""},
		{"user without role", basic("nobody", "pw"), 403, "PASSWORD"},
		{"user without Unix account", basic("unmapped", "pw"), 401, "PASSWORD"},

		{"static token", "Bearer static-token", 200, "OAUTH"},
		{"scheme in lower case", "bearer static-token", 200, "OAUTH"},
		{"token that will expire", "Bearer young-token", 200, "OAUTH"},
		{"token that has expired", "Bearer old-token", 403, ""},
		{"token of nobody", "Bearer ghost-token", 403, ""},
		{"unknown token", "Bearer who", 403, ""},
		{"empty token", "Bearer ", 403, ""},

		{"RSA", rsaKey.sign(t, "keys", nil), 200, "SSHKEY"},
		{"Ed25519", edKey.sign(t, "keys", nil), 200, "SSHKEY"},
		{"ECDSA P-256", p256.sign(t, "keys", nil), 200, "SSHKEY"},
		{"ECDSA P-384", p384.sign(t, "keys", nil), 200, "SSHKEY"},
		{"ECDSA P-521", p521.sign(t, "keys", nil), 200, "SSHKEY"},
		{"no etd", edKey.sign(t, "keys", jwt.MapClaims{"etd": nil}), 200, "SSHKEY"},
		{"expired within the leeway", edKey.sign(t, "keys", jwt.MapClaims{"exp": now - 20}), 200, "SSHKEY"},
		{"expired", edKey.sign(t, "keys", jwt.MapClaims{"exp": now - 90}), 403, ""},
		{"no exp", edKey.sign(t, "keys", jwt.MapClaims{"exp": nil}), 403, ""},
		{"issuer is another", edKey.sign(t, "keys", jwt.MapClaims{"iss": "demo"}), 403, ""},
		{"no subject", edKey.sign(t, "", nil), 403, ""},
		{"delegation by a user", edKey.sign(t, "keys", jwt.MapClaims{"iss": "demo", "etd": "true"}), 403, ""},
		{"for another service", edKey.sign(t, "keys", jwt.MapClaims{"aud": "CN=other"}), 403, ""},
		{"key of another", edKey.sign(t, "demo", nil), 403, ""},
		{"unknown key", stranger.sign(t, "keys", nil), 403, ""},
		{"unknown user's key", stranger.sign(t, "who", nil), 403, ""},
		{"unsigned", "Bearer " + unsigned(t, "keys"), 403, ""},

		{"issued", "Bearer " + issue(time.Minute), 200, "ETD"},
		{"issued, expired", "Bearer " + issue(-2*time.Minute), 403, ""},
		{"issued, changed", "Bearer " + issue(time.Minute) + "x", 403, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := login(s, tc.auth, emptyPath).do(t, client)
			if got.status != tc.status {
				t.Fatalf("status %d %s, want %d", got.status, got.body, tc.status)
			}
			if (got.status == 401 || got.status == 403) && got.body != "" {
				t.Errorf("body %q, want none", got.body)
			}
			if got.status == 200 {
				doc := got.json(t)
				if secret, _ := doc["secret"].(string); doc["success"] != true || len(secret) != 20 {
					t.Errorf("answer %v", doc)
				}
			}
			requests := s.AuthRequests()
			if tc.method != "" && requests[len(requests)-1].Method != tc.method {
				t.Errorf("method %q, want %q", requests[len(requests)-1].Method, tc.method)
			}
		})
	}
}

// unsigned is a JWT with the algorithm "none".
func unsigned(tb testing.TB, user string) string {
	tb.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodNone,
		jwt.MapClaims{"sub": user, "iss": user, "exp": time.Now().Unix() + 300}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// A user whose keys are in the home directory on the file server needs none in
// the user's entry.
func TestAuthKeyInHomeDirectory(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		client := httpClient(t, s)
		key := newSSHKey(t, "ed25519")
		if got := login(s, key.sign(t, "demo", nil), emptyPath).do(t, client); got.status != 403 {
			t.Fatalf("status %d before the key is there", got.status)
		}
		s.WriteFile(t, ".ssh/authorized_keys", []byte("# mine\n\n"+key.line+"\n"))
		if got := login(s, key.sign(t, "demo", nil), emptyPath).do(t, client); got.status != 200 {
			t.Fatalf("status %d with the key in place", got.status)
		}
	})
}
