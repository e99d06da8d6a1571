package uftp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// leakTest looks for secrets in everything that is shown to it.
type leakTest struct {
	forms map[string]string // what it is, by text
	shown int
}

// mark makes text a secret, which must not get out in hexadecimal or as numbers
// either.
func (l *leakTest) mark(what, text string) string {
	for _, form := range []string{
		strings.TrimRight(text, "="), fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), strings.Trim(fmt.Sprintf("%d", []byte(text)), "[]"),
	} {
		l.forms[form] = what
	}
	return text
}

// show prints v in every way a program may, and looks for the secrets.
func (l *leakTest) show(t testing.TB, what string, v any) {
	t.Helper()
	l.shown++
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", []any{v, map[string]any{"k": v}, struct{ V any }{v}})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).InfoContext(t.Context(), "m", "v", v, "group", slog.GroupValue(slog.Any("v", v)))
	}
	if data, err := json.Marshal(v); err == nil {
		out.Write(data)
	}
	for err, ok := v.(error); ok && err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
	}
	text := out.String()
	for form, kind := range l.forms {
		if at := strings.Index(text, form); at >= 0 {
			t.Errorf("%s shows the %s: …%.300s", what, kind, text[max(0, at-200):])
		}
	}
}

// TestNoSecretIsShown runs every way to fail that involves a secret, with
// servers that repeat everything they are told, and looks for the secrets in
// errors, in all types printed in all ways, and in logs.
func TestNoSecretIsShown(t *testing.T) {
	leak := &leakTest{forms: map[string]string{}}
	for name, access := range markedAccess(t, leak) {
		t.Run(name, func(t *testing.T) { showFailures(t, leak, access) })
	}
	t.Run("keys", func(t *testing.T) { showKeyErrors(t, leak) })
	if leak.shown < 200 || len(leak.forms) < 40 {
		t.Errorf("%d values and %d forms of secrets were looked at, the test misses something", leak.shown, len(leak.forms))
	}
}

// markedAccess is one access of each kind, with secrets that can be told apart.
func markedAccess(t *testing.T, leak *leakTest) map[string]uftp.Access {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(leak.mark("token in a file", "MARK-token-file")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UFTP_TEST_MARKED_TOKEN", leak.mark("token in the environment", "MARK-token-env"))
	key := must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, testKeys(t)["ES256"]), ""))
	leak.mark("signed token", bearer(t, key))
	password := leak.mark("password", `MARK-"pass\wörd`)
	leak.mark("Basic header", base64.StdEncoding.EncodeToString([]byte("demo:"+password)))
	credentials := map[string]uftp.Credential{
		"password": uftp.UsernamePassword{Username: "demo", Password: uftp.Secret(password)},
		"key":      key,
		"token":    uftp.BearerToken{Token: uftp.Secret(leak.mark("token", "MARK-bearer-token"))},
		"file":     uftp.TokenFile{Path: file},
		"env":      uftp.TokenEnv{Name: "UFTP_TEST_MARKED_TOKEN"},
		"oauth": &uftp.OAuthRefresh{
			ClientID:     "id",
			ClientSecret: uftp.Secret(leak.mark("client secret", "MARK-client-secret")),
			RefreshToken: uftp.Secret(leak.mark("refresh token", "MARK-refresh-token")),
		},
	}
	leak.mark("access token", "MARK-access-token")
	leak.mark("second refresh token", "MARK-second-refresh-token")
	leak.mark("one-time password", "MARK-one-time-password")
	access := map[string]uftp.Access{}
	for name, c := range credentials {
		access[name] = uftp.Access{Credential: c}
		leak.mark("marshalled "+name, string(must[[]byte](t)(uftp.MarshalAccess(access[name]))))
	}
	return access
}

// echo answers with everything in the request, in the shape that the mode says.
func echo(w http.ResponseWriter, r *http.Request, mode string) {
	body, _ := io.ReadAll(r.Body)
	user, password, _ := r.BasicAuth()
	form, _ := url.ParseQuery(string(body))
	said := fmt.Sprintf("%s %s user %s password %s body %s form %v",
		r.URL, r.Header.Get("Authorization"), user, password, body, form)
	inJSON, _ := json.Marshal(said)
	status := http.StatusOK
	if _, err := fmt.Sscan(mode, &status); err == nil {
		w.Header().Set("Location", "https://"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+"/"+url.PathEscape(said))
		reply(status, nil, `{"errorMessage":`+string(inJSON)+`}`)(w, r)
		return
	}
	if mode == "refused" || mode == "bad login" {
		inJSON = append(inJSON[:len(inJSON)-1], ` MARK-one-time-password"`...)
	}
	switch mode {
	case "refused":
		reply(status, nil, `{"success":false,"secret":"MARK-one-time-password","reason":`+string(inJSON)+`}`)(w, r)
	case "bad login":
		reply(status, nil, `{"success":true,"serverHost":"h","secret":"MARK-one-time-password","reason":`+string(inJSON)+`}`)(w, r)
	case "bad password":
		reply(status, nil, `{"success":true,"serverHost":"h","serverPort":1,"secret":"MARK-one-time-password\n"}`)(w, r)
	case "cut":
		reply(status, nil, string(inJSON[:len(inJSON)-1]))(w, r)
	case "plain":
		reply(http.StatusBadGateway, http.Header{"Content-Type": {"text/plain"}}, said)(w, r)
	case "oauth":
		reply(http.StatusBadRequest, nil, `{"error":`+string(inJSON)+`,"error_description":`+string(inJSON)+`}`)(w, r)
	case "oauth token":
		reply(status, nil, `{"access_token":"MARK-access-token","token_type":`+string(inJSON)+`}`)(w, r)
	case "not HTTP", "bad header":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if mode == "bad header" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		}
		_, _ = fmt.Fprintf(conn, "%s\r\n\r\n", strings.ReplaceAll(said, "\n", " "))
	}
}

var echoModes = []string{
	"302", "400", "401", "403", "404", "418", "432", "500", "503",
	"refused", "bad login", "bad password", "cut", "plain", "oauth", "oauth token", "not HTTP", "bad header",
}

func showFailures(t *testing.T, leak *leakTest, access uftp.Access) {
	var mode, tokenMode string
	r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path != "/token":
			echo(w, req, mode)
		case tokenMode != "":
			echo(w, req, tokenMode)
		default:
			reply(http.StatusOK, nil, `{"access_token":"MARK-access-token","refresh_token":"MARK-second-refresh-token"}`)(w, req)
		}
	})
	oauth, isOAuth := access.Credential.(*uftp.OAuthRefresh)
	if isOAuth {
		oauth.TokenURL = strings.Replace(r.AuthURL, "/rest/auth/TEST", "/token", 1)
	}
	r.Access.Credential = access.Credential
	r.EncryptionKey = []byte(leak.mark("encryption key", "MARK-encryption-key"))
	leak.mark("encryption key in Base64", base64.StdEncoding.EncodeToString(r.EncryptionKey))
	try := func(what string, r uftp.AuthRequest) {
		t.Helper()
		_, err := uftp.Authenticate(t.Context(), r)
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		leak.show(t, what, err)
		_, err = uftp.ServerInfo(t.Context(), r)
		leak.show(t, what+", info", err)
	}
	if isOAuth {
		for _, tokenMode = range echoModes {
			try("token endpoint, "+tokenMode, r)
		}
		tokenMode = ""
	}
	for _, mode = range echoModes {
		try(mode, r)
	}
	showTransportFailures(t, r, try)

	config := uftp.Config{AuthURL: r.AuthURL, Access: r.Access}
	client := must[*uftp.Client](t)(uftp.New(config))
	t.Cleanup(func() { _ = client.Close() })
	fixed := must[*uftp.Client](t)(uftp.New(uftp.Config{Login: &uftp.Login{Host: "h", Port: 1, Password: "MARK-one-time-password"}}))
	t.Cleanup(func() { _ = fixed.Close() })
	login := uftp.Login{Host: "h", Port: 1, Password: "MARK-one-time-password"}
	for what, v := range map[string]any{
		"credential": r.Access.Credential, "access": r.Access, "pointer to access": &r.Access, "request": r,
		"pointer to request": &r, "login": login, "pointer to login": &login, "secret": login.Password,
		"request in a config": struct{ uftp.AuthRequest }{r}, "config": config, "pointer to config": &config,
		"client": client, "client with a login": fixed, "client in an unexported field": struct{ c *uftp.Client }{client}, "name": r.Access.String(),
	} {
		leak.show(t, what, v)
	}
}

func showTransportFailures(t *testing.T, r uftp.AuthRequest, try func(string, uftp.AuthRequest)) {
	t.Helper()
	untrusted, dial, slow, bundle := r, r, r, r
	untrusted.Access.CABundle = nil
	try("untrusted", untrusted)
	dial.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no way") }
	try("dial", dial)
	slow.HTTPTimeout = time.Nanosecond
	try("timeout", slow)
	bundle.Access.CABundle = []byte("MARK")
	try("CA bundle", bundle)
	for _, u := range []string{"https://u:MARK-bearer-token@h/rest/auth/T", "https://h/rest/auth/T?MARK-bearer-token", "https://h:MARK-bearer-token"} {
		bad := r
		bad.AuthURL = u
		try("URL", bad)
	}
}

func showKeyErrors(t *testing.T, leak *leakTest) {
	der := must[[]byte](t)(x509.MarshalECPrivateKey(testKeys(t)["ES256"].(*ecdsa.PrivateKey)))
	//nolint:staticcheck // insecure, but fast
	block := must[*pem.Block](t)(x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte("right"), x509.PEMCipherAES256))
	text := string(pem.EncodeToMemory(block))
	lines := strings.Split(text, "\n")
	lines = lines[3:] // after the headers
	for _, l := range lines[1 : len(lines)-2] {
		leak.mark("key text", l)
	}
	passphrase := leak.mark("passphrase", "MARK-passphrase")
	for what, key := range map[string]string{
		"wrong passphrase": text, "cut": text[:len(text)/2], "RSA": strings.ReplaceAll(text, "EC ", "RSA "),
		"PKCS8": strings.ReplaceAll(text, "EC ", "ENCRYPTED "), "no PEM": strings.Join(lines, "\n"),
		"OpenSSH": strings.ReplaceAll(text, "EC ", "OPENSSH "), "type": strings.ReplaceAll(text, "EC PRIVATE KEY", lines[1]),
		"cipher": strings.ReplaceAll(text, "AES-256-CBC", lines[1]),
	} {
		_, err := uftp.NewSSHKey("demo", uftp.Secret(key), uftp.Secret(passphrase))
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		leak.show(t, what, err)
	}
}
