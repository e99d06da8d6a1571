package uftptest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// httpClient trusts s and follows no redirects.
func httpClient(tb testing.TB, s *uftptest.Server) *http.Client {
	tb.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CABundle()) {
		tb.Fatal("no certificate in the CA bundle")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call is one request and what came of it.
type call struct {
	method, url string
	body        string
	header      http.Header
	auth        string // Authorization
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(tb testing.TB) map[string]any {
	tb.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		tb.Fatalf("body %q: %v", a.body, err)
	}
	return doc
}

func (c call) do(tb testing.TB, client *http.Client) answer {
	tb.Helper()
	a, err := c.try(tb, client)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (c call) try(tb testing.TB, client *http.Client) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		tb.Fatal(err)
	}
	maps.Copy(req.Header, c.header)
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// login asks for a one-time password.
func login(s *uftptest.Server, auth, body string) call {
	return call{method: "POST", url: s.AuthURL(), auth: auth, body: body,
		header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}}
}

func get(url, auth string) call { return call{method: "GET", url: url, auth: auth} }

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

const emptyPath = `{"serverPath":""}`

var demo = basic(uftptest.DefaultUserName, uftptest.DefaultUserPassword)

// sshKey is a key pair as a user has it.
type sshKey struct {
	signer crypto.Signer
	method jwt.SigningMethod
	line   string // for authorized_keys
}

func newSSHKey(tb testing.TB, kind string) sshKey {
	tb.Helper()
	var k sshKey
	var err error
	switch kind {
	case "rsa":
		k.method = jwt.SigningMethodRS256
		k.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		k.method = jwt.SigningMethodEdDSA
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	case "p256":
		k.method = jwt.SigningMethodES256
		k.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		k.method = jwt.SigningMethodES384
		k.signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		k.method = jwt.SigningMethodES512
		k.signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	if err != nil {
		tb.Fatal(err)
	}
	public, err := ssh.NewPublicKey(k.signer.Public())
	if err != nil {
		tb.Fatal(err)
	}
	k.line = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " a comment"
	return k
}

// sign makes an Authorization header of a user's own JWT. Claims override the
// usual ones; nil removes one.
func (k sshKey) sign(tb testing.TB, user string, claims jwt.MapClaims) string {
	tb.Helper()
	now := time.Now().Unix()
	all := jwt.MapClaims{"sub": user, "iss": user, "iat": now, "exp": now + 300, "etd": "false"}
	for name, v := range claims {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	token, err := jwt.NewWithClaims(k.method, all).SignedString(k.signer)
	if err != nil {
		tb.Fatal(err)
	}
	return "Bearer " + token
}
