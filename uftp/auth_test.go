package uftp_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
)

const goodReply = `{"success":true,"reason":"","serverHost":"localhost","serverPort":64434,"secret":"qwhxnbzlmvcotyeruapd"}`

// startAuth serves handler over TLS and returns a request for it.
func startAuth(t testing.TB, handler http.HandlerFunc) uftp.AuthRequest {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return uftp.AuthRequest{
		AuthURL: server.URL + "/rest/auth/TEST",
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demo", Password: "demo-password"},
			CABundle:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		},
	}
}

// reply answers every request.
func reply(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAuthenticateRequest(t *testing.T) {
	type sent struct {
		Method, Path string
		Header       map[string]string
		Body         map[string]any
	}
	tests := []struct {
		name   string
		change func(*uftp.AuthRequest)
		want   map[string]any
	}{
		{"least", func(*uftp.AuthRequest) {}, map[string]any{"serverPath": "", "persistent": false}},
		{"slash at the end", func(r *uftp.AuthRequest) { r.AuthURL += "/" }, map[string]any{"serverPath": "", "persistent": false}},
		{"all", func(r *uftp.AuthRequest) {
			r.BaseDir = "/srv/ä data "
			r.Persistent, r.Compress, r.StreamCount = true, true, 3
			r.EncryptionKey, r.EncryptionAlgorithm = make([]byte, 32), "aes"
			r.Group, r.ClientAddress = "project1", "10.1.2.3, gw.example"
		}, map[string]any{
			"serverPath": "/srv/ä data ", "persistent": true, "compress": true, "streamCount": 3.0,
			"encryptionKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "encryptionAlgorithm": "AES",
			"group": "project1", "client": "10.1.2.3, gw.example",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sent
			r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
				got = sent{Method: req.Method, Path: req.URL.Path, Header: map[string]string{}}
				for _, name := range []string{"Authorization", "Content-Type", "Accept", "X-Unicore-User-Preferences"} {
					got.Header[name] = req.Header.Get(name)
				}
				if err := json.NewDecoder(req.Body).Decode(&got.Body); err != nil {
					t.Error(err)
				}
				reply(http.StatusOK, nil, goodReply)(w, req)
			})
			r.UserPreferences = "uid:other,group:project1"
			tt.change(&r)
			login, err := uftp.Authenticate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if want := (uftp.Login{Host: "localhost", Port: 64434, Password: "qwhxnbzlmvcotyeruapd"}); login != want {
				t.Errorf("login is %v with password %q, want %v with %q", login, login.Password.Reveal(), want, want.Password.Reveal())
			}
			want := sent{
				Method: http.MethodPost, Path: "/rest/auth/TEST",
				Header: map[string]string{
					"Authorization": "Basic ZGVtbzpkZW1vLXBhc3N3b3Jk", "Content-Type": "application/json",
					"Accept": "application/json", "X-Unicore-User-Preferences": "uid:other,group:project1",
				},
				Body: tt.want,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// wantError checks an error of Authenticate or ServerInfo. A cause of nil is
// fs.ErrInvalid. Of the causes, err must be that one alone.
func wantError(t testing.TB, err, cause error, code int, msg string) {
	t.Helper()
	e, ok := errors.AsType[*uftp.Error](err)
	if !ok {
		t.Fatalf("error is %#v, want an *Error", err)
	}
	if !errors.Is(err, cause) {
		t.Errorf("error is %q, want one that is %q", err, cause)
	}
	all := []error{
		uftp.ErrAuth, uftp.ErrBusy, uftp.ErrUnavailable, uftp.ErrProtocol,
		fs.ErrNotExist, fs.ErrInvalid, fs.ErrPermission, fs.ErrExist, context.Canceled, context.DeadlineExceeded,
	}
	for _, other := range all {
		if errors.Is(err, other) && !errors.Is(cause, other) {
			t.Errorf("error %q is %q, too", err, other)
		}
	}
	if e.Code != code || e.Msg != msg {
		t.Errorf("error has code %d and message %q, want %d and %q", e.Code, e.Msg, code, msg)
	}
}

func TestAuthenticateStatus(t *testing.T) {
	errorJSON := func(status int, msg string) string {
		return fmt.Sprintf(`{"errorMessage":%q,"status":%d}`, msg, status)
	}
	const busy = "UFTPD server 'TEST': <ERROR::Too many active sessions for 'u' - server limit is 8>"
	plain, page := http.Header{"Content-Type": {"text/plain"}}, http.Header{"Content-Type": {"text/html"}}
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		cause  error
		msg    string
	}{
		{"group", 400, nil, errorJSON(400, "not available"), fs.ErrInvalid, "not available"},
		{"not mapped", 401, nil, "", uftp.ErrAuth, ""},
		{"password", 403, nil, "<html>Forbidden</html>", uftp.ErrAuth, ""},
		{"password, in JSON", 403, nil, errorJSON(403, "not parsed"), uftp.ErrAuth, ""},
		{"unknown server", 404, nil, errorJSON(404, "No such server: 'X', please check your URL"), fs.ErrNotExist, "No such server: 'X', please check your URL"},
		{"method", 405, nil, "", uftp.ErrProtocol, ""},
		{"accept", 406, nil, "", uftp.ErrProtocol, ""},
		{"content type", 415, nil, "", uftp.ErrProtocol, ""},
		{"teapot", 418, nil, "", uftp.ErrProtocol, ""},
		{"proxy is slow", 408, nil, "", uftp.ErrUnavailable, ""},
		{"proxy is busy", 429, plain, "slow down\r\n", uftp.ErrUnavailable, "slow down"},
		{"no session, twice", 432, nil, "", uftp.ErrAuth, ""},
		{"limit", 500, nil, errorJSON(500, busy), uftp.ErrBusy, busy},
		{"UFTPD down", 500, nil, errorJSON(500, "Cannot connect to UFTPD server"), uftp.ErrUnavailable, "Cannot connect to UFTPD server"},
		{"gateway", 502, page, "<html><h1>Bad gateway</h1></html>", uftp.ErrUnavailable, ""},
		{"all down", 503, nil, errorJSON(503, "DOWN"), uftp.ErrUnavailable, "DOWN"},
		{"gateway is slow", 504, nil, "", uftp.ErrUnavailable, ""},
		{"created", 201, nil, goodReply, uftp.ErrProtocol, ""},
		{"no content", 204, nil, "", uftp.ErrProtocol, ""},
		{"control characters", 500, nil, `{"errorMessage":"a\u001b[31m\u0000\n\u202eb"}`, uftp.ErrUnavailable, "a [31m b"},
		{"message only", 500, nil, `{"errorMessage":" ","message":"m"}`, uftp.ErrUnavailable, "m"},
		{"long", 500, nil, errorJSON(500, strings.Repeat("ä", 1000)), uftp.ErrUnavailable, strings.Repeat("ä", 148) + "…"},
		{"success false", 200, nil, `{"success":false,"reason":"no can do"}`, uftp.ErrUnavailable, "no can do"},
		{"success false, limit", 200, nil, `{"success":false,"reason":"Too many active sessions"}`, uftp.ErrBusy, "Too many active sessions"},
		{"page", 200, page, "<html>Log in!</html>", uftp.ErrProtocol, ""},
		{"null", 200, nil, "null", uftp.ErrProtocol, ""},
		{"empty", 200, nil, "", uftp.ErrProtocol, ""},
		{"no host", 200, nil, `{"success":true,"serverHost":" , ","serverPort":1,"secret":"s"}`, uftp.ErrProtocol, ""},
		{"host is none", 200, nil, `{"success":true,"serverHost":"a\nb","serverPort":1,"secret":"s"}`, uftp.ErrProtocol, ""},
		{"no port", 200, nil, `{"success":true,"serverHost":"h","secret":"s"}`, uftp.ErrProtocol, ""},
		{"port is none", 200, nil, `{"success":true,"serverHost":"h","serverPort":65536,"secret":"s"}`, uftp.ErrProtocol, ""},
		{"port is huge", 200, nil, `{"success":true,"serverHost":"h","serverPort":4294967297,"secret":"s"}`, uftp.ErrProtocol, ""},
		{"no secret", 200, nil, `{"success":true,"serverHost":"h","serverPort":1}`, uftp.ErrProtocol, ""},
		{"secret with a command", 200, nil, `{"success":true,"serverHost":"h","serverPort":1,"secret":"s\r\nDELE x"}`, uftp.ErrProtocol, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startAuth(t, reply(tt.status, tt.header, tt.body))
			_, err := uftp.Authenticate(t.Context(), r)
			wantError(t, err, tt.cause, tt.status, tt.msg)
			if text := err.Error(); !strings.HasPrefix(text, `authenticate "`+r.AuthURL+`": `) {
				t.Errorf("error is %s, want it to name the URL", text)
			}
		})
	}
}

func TestAuthenticateSuccess(t *testing.T) {
	tests := []struct {
		name, body string
		host       string
		addresses  []string
	}{
		{"plain", goodReply, "localhost", []string{"localhost:64434"}},
		{"success is missing", `{"serverHost":"h","serverPort":64434,"secret":"s"}`, "h", []string{"h:64434"}},
		{"port as text", `{"success":true,"serverHost":"h","serverPort":"64434","secret":"s"}`, "h", []string{"h:64434"}},
		{"list", `{"serverHost":"a, b  10.0.0.1","serverPort":64434,"secret":"s"}`, "a, b  10.0.0.1", []string{"a:64434", "b:64434", "10.0.0.1:64434"}},
		{"IPv6", `{"serverHost":"0:0:0:0:0:0:0:1,[::1]","serverPort":64434,"secret":"s"}`, "0:0:0:0:0:0:0:1,[::1]", []string{"[0:0:0:0:0:0:0:1]:64434", "[::1]:64434"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login, err := uftp.Authenticate(t.Context(), startAuth(t, reply(http.StatusOK, nil, tt.body)))
			if err != nil {
				t.Fatal(err)
			}
			if login.Host != tt.host || !slices.Equal(login.Addresses(), tt.addresses) {
				t.Errorf("host %q, addresses %q, want %q, %q", login.Host, login.Addresses(), tt.host, tt.addresses)
			}
		})
	}
}

func TestAuthenticateRepeatsWithoutSession(t *testing.T) {
	requests := 0
	r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
		requests++
		body, _ := io.ReadAll(req.Body)
		if user, _, _ := req.BasicAuth(); user != "demo" || !strings.Contains(string(body), "serverPath") {
			t.Errorf("request %d has user %q and body %q", requests, user, body)
		}
		if requests == 1 {
			w.WriteHeader(432)
			return
		}
		reply(http.StatusOK, nil, goodReply)(w, req)
	})
	if _, err := uftp.Authenticate(t.Context(), r); err != nil || requests != 2 {
		t.Errorf("%d requests, error %v, want 2 and none", requests, err)
	}
}

func TestAuthenticateInvalid(t *testing.T) {
	base := "https://auth.example:9000/rest/auth/TEST"
	tests := []struct {
		name   string
		change func(*uftp.AuthRequest)
		want   string
	}{
		{"no URL", func(r *uftp.AuthRequest) { r.AuthURL = "" }, "missing"},
		{"http", func(r *uftp.AuthRequest) { r.AuthURL = "http://127.0.0.1/rest/auth/TEST" }, "https://"},
		{"no scheme", func(r *uftp.AuthRequest) { r.AuthURL = "auth.example:9000/rest/auth/TEST" }, "https://"},
		{"user info", func(r *uftp.AuthRequest) { r.AuthURL = "https://demo:MARK@auth.example/rest/auth/TEST" }, "user name or password"},
		{"user info with a slash", func(r *uftp.AuthRequest) { r.AuthURL = "https://demo:p@MARK/MARK@auth.example/rest/auth/TEST" }, "user name or password"},
		{"not a URL", func(r *uftp.AuthRequest) { r.AuthURL = "https://demo:MARK" }, "not a URL"},
		{"no host", func(r *uftp.AuthRequest) { r.AuthURL = "https:///rest/auth/TEST" }, "no host"},
		{"query", func(r *uftp.AuthRequest) { r.AuthURL = base + "?token=MARK" }, "query"},
		{"fragment", func(r *uftp.AuthRequest) { r.AuthURL = base + "#MARK" }, "fragment"},
		{"UFTP URL", func(r *uftp.AuthRequest) { r.AuthURL = base + ":/data" }, "before the colon"},
		{"no server name", func(r *uftp.AuthRequest) { r.AuthURL = "https://auth.example/rest/auth" }, "name of a server"},
		{"other path", func(r *uftp.AuthRequest) { r.AuthURL = "https://auth.example/rest/core/TEST" }, "/rest/auth/NAME"},
		{"base with a line break", func(r *uftp.AuthRequest) { r.BaseDir = "/a\nuser=root" }, "line break"},
		{"base not UTF-8", func(r *uftp.AuthRequest) { r.BaseDir = "/\xff" }, "not UTF-8"},
		{"base is the session tag", func(r *uftp.AuthRequest) { r.BaseDir = "/x/___UFTP___MULTI___FILE___SESSION___MODE___/" }, "cannot be one named"},
		{"group with a line break", func(r *uftp.AuthRequest) { r.Group = "g\nuser=root" }, "group"},
		{"client with a line break", func(r *uftp.AuthRequest) { r.ClientAddress = "a\nb" }, "client address"},
		{"streams", func(r *uftp.AuthRequest) { r.StreamCount = -1 }, "negative"},
		{"preferences", func(r *uftp.AuthRequest) { r.UserPreferences = "uid" }, "user preferences"},
		{"preferences with a header", func(r *uftp.AuthRequest) { r.UserPreferences = "uid:a\r\nX: b" }, "user preferences"},
		{"algorithm", func(r *uftp.AuthRequest) { r.EncryptionAlgorithm = "ROT13" }, "AES or BLOWFISH"},
		{"no key", func(r *uftp.AuthRequest) { r.EncryptionAlgorithm = "AES" }, "needs a key"},
		{"AES key", func(r *uftp.AuthRequest) { r.EncryptionAlgorithm, r.EncryptionKey = "AES", []byte("MARK") }, "32, 40 or 48"},
		{"Blowfish key", func(r *uftp.AuthRequest) { r.EncryptionKey = make([]byte, 57) }, "at most 56"},
		{"CA bundle", func(r *uftp.AuthRequest) { r.Access.CABundle = []byte("MARK") }, "no certificate"},
		{"credential", func(r *uftp.AuthRequest) {
			r.Access.Credential = uftp.UsernamePassword{Username: "a:b", Password: "MARK"}
		}, "colon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := uftp.AuthRequest{AuthURL: base, Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("dialled")
				return nil, errors.New("not in this test")
			}}
			tt.change(&r)
			_, err := uftp.Authenticate(t.Context(), r)
			wantError(t, err, fs.ErrInvalid, 0, "")
			if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "MARK") {
				t.Errorf("error is %s, want it to contain %q and no secret", text, tt.want)
			}
		})
	}
}

func TestAuthenticateBehindGateway(t *testing.T) {
	for _, path := range []string{"/SITE/rest/auth/TEST-2", "/a/b%2Fc/rest/auth/TEST", "/rest/auth/rest/auth/X"} {
		var got string
		r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
			got = req.RequestURI
			reply(http.StatusOK, nil, goodReply)(w, req)
		})
		r.AuthURL = strings.TrimSuffix(r.AuthURL, "/rest/auth/TEST") + path
		if _, err := uftp.Authenticate(t.Context(), r); err != nil || got != path {
			t.Errorf("posted to %q, error %v, want %q", got, err, path)
		}
	}
}

func TestAuthenticateRedirect(t *testing.T) {
	elsewhere := startAuth(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := startAuth(t, reply(status, http.Header{"Location": {elsewhere.AuthURL + "?MARK"}}, ""))
		r.Insecure = true
		_, err := uftp.Authenticate(t.Context(), r)
		wantError(t, err, uftp.ErrProtocol, status, "")
		host := strings.Split(elsewhere.AuthURL, "/")[2]
		if text := err.Error(); !strings.Contains(text, host) || strings.Contains(text, "MARK") {
			t.Errorf("error is %s, want it to name %s and no more", text, host)
		}
	}
	for _, location := range []string{"/rest/auth/OTHER", "", "::", "//u:demo-password@h/"} {
		r := startAuth(t, reply(http.StatusFound, http.Header{"Location": {location}}, ""))
		_, err := uftp.ServerInfo(t.Context(), r)
		wantError(t, err, uftp.ErrProtocol, http.StatusFound, "")
	}
}

func TestAuthenticateHugeBody(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		r := startAuth(t, reply(status, nil, `{"reason":"`+strings.Repeat("x", 1<<20)+`"}`))
		_, err := uftp.Authenticate(t.Context(), r)
		wantError(t, err, uftp.ErrProtocol, status, "")
	}
}

// TestAuthenticateSlow covers servers that stop before the header and in the
// middle of the body.
func TestAuthenticateSlow(t *testing.T) {
	for _, begun := range []bool{false, true} {
		code := 0
		if begun {
			code = http.StatusOK
		}
		reached := make(chan struct{}, 3)
		r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body) // else the server does not notice the client going
			if begun {
				_, _ = io.WriteString(w, `{"success":`)
				_ = http.NewResponseController(w).Flush()
			}
			reached <- struct{}{}
			<-req.Context().Done()
			panic(http.ErrAbortHandler) // to return would be an answer, which a slow client may yet hear
		})
		t.Run(fmt.Sprintf("cancel, body begun %v", begun), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-reached; cancel() }()
			_, err := uftp.Authenticate(ctx, r)
			wantSlow(t, err, context.Canceled, code)
		})
		t.Run(fmt.Sprintf("deadline, body begun %v", begun), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := uftp.Authenticate(ctx, r)
			wantSlow(t, err, context.DeadlineExceeded, code)
		})
		t.Run(fmt.Sprintf("timeout, body begun %v", begun), func(t *testing.T) {
			r := r
			r.HTTPTimeout = 50 * time.Millisecond
			_, err := uftp.Authenticate(t.Context(), r)
			wantSlow(t, err, uftp.ErrUnavailable, code)
			if !strings.Contains(err.Error(), "no answer within 50ms") {
				t.Errorf("error is %v, want it to name the limit", err)
			}
		})
	}
}

// wantSlow is wantError for cases in which the status may not have come yet.
func wantSlow(t testing.TB, err, cause error, code int) {
	t.Helper()
	if e, ok := errors.AsType[*uftp.Error](err); ok && e.Code == 0 {
		code = 0
	}
	wantError(t, err, cause, code, "")
}

func TestAuthenticateUnreachable(t *testing.T) {
	refused := must[net.Listener](t)((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	address := refused.Addr().String()
	_ = refused.Close()
	dialError := func(err error) uftp.DialFunc {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	tests := []struct {
		name string
		url  string
		dial uftp.DialFunc
		want string
	}{
		{"refused", "https://" + address, nil, "connection refused"},
		{"DNS", "https://auth.invalid", dialError(&net.DNSError{Err: "no such host", Name: "auth.invalid", IsNotFound: true}), "no such host"},
		{"dial timeout", "https://auth.invalid", dialError(context.DeadlineExceeded), "deadline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{AuthURL: tt.url + "/rest/auth/TEST", Dial: tt.dial})
			e, _ := errors.AsType[*uftp.Error](err)
			if e == nil || !strings.Contains(e.Msg, tt.want) {
				t.Fatalf("error is %v, want one with %q", err, tt.want)
			}
			wantError(t, err, uftp.ErrUnavailable, 0, e.Msg)
		})
	}
}
