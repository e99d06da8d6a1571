package uftptest_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestAuthStatuses(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{
		{Name: "demo", Password: "demo-password", Groups: []string{"main", "project"}},
	}})
	client := httpClient(t, s)
	base := strings.TrimSuffix(s.AuthURL(), "/TEST")
	jsonType := http.Header{"Content-Type": {"application/json"}}
	post := func(path, body string, h http.Header) call {
		return call{method: "POST", url: base + path, auth: demo, body: body, header: h}
	}
	for _, tc := range []struct {
		name    string
		call    call
		status  int
		message string // in the error document; "" for a body that is none
	}{
		{"success", post("/TEST", emptyPath, jsonType), 200, ""},
		{"instance", post("/TEST-1", emptyPath, jsonType), 200, ""},
		{"type with charset", post("/TEST", emptyPath, http.Header{"Content-Type": {"application/json; charset=UTF-8"}}), 200, ""},
		{"no type", post("/TEST", emptyPath, nil), 200, ""},
		{"unknown server", post("/OTHER", emptyPath, jsonType), 404, "No such server: 'OTHER', please check your URL"},
		{"unknown instance", post("/TEST-2", emptyPath, jsonType), 404, "No such server: 'TEST-2', please check your URL"},
		{"instance 0", post("/TEST-0", emptyPath, jsonType), 404, "No such server: 'TEST-0', please check your URL"},
		{"no such path", post("/TEST/more", emptyPath, jsonType), 404, ""},
		{"GET of a server", get(base+"/TEST", demo), 405, ""},
		{"POST to the info document", post("", emptyPath, jsonType), 405, ""},
		{"wrong type", post("/TEST", emptyPath, http.Header{"Content-Type": {"text/plain"}}), 415, ""},
		{"form", post("/TEST", "serverPath=", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}), 415, ""},
		{"wrong Accept", post("/TEST", emptyPath, http.Header{"Accept": {"text/html"}}), 406, ""},
		{"wide Accept", post("/TEST", emptyPath, http.Header{"Accept": {"text/html, application/*;q=0.5"}}), 200, ""},
		{"group", post("/TEST", `{"serverPath":"","group":"project"}`, jsonType), 200, ""},
		{"group not available", post("/TEST", `{"serverPath":"","group":"wheel"}`, jsonType), 400, "Requested group 'wheel' is not available"},
		{"no serverPath", post("/TEST", `{}`, jsonType), 500, "java.lang.NullPointerException"},
		{"serverPath null", post("/TEST", `{"serverPath":null}`, jsonType), 500, "java.lang.NullPointerException"},
		{"no JSON", post("/TEST", `serverPath`, jsonType), 500, "Bad request"},
		{"no object", post("/TEST", `[]`, jsonType), 500, "Bad request"},
		{"bad number", post("/TEST", `{"serverPath":"","streamCount":"two"}`, jsonType), 500, "Bad request"},
		{"object for a string", post("/TEST", `{"serverPath":{}}`, jsonType), 500, "Bad request"},
		{"bad key", post("/TEST", `{"serverPath":"","encryptionKey":"%"}`, jsonType), 500, "Bad encryption key"},
		{"bad algorithm", post("/TEST", `{"serverPath":"","encryptionAlgorithm":"rot13"}`, jsonType), 500, "ROT13"},
		{"preferred group", with(post("/TEST", emptyPath, jsonType), "X-UNICORE-User-Preferences", "uid:demo,group:project"), 200, ""},
		{"preferred group not available", with(post("/TEST", emptyPath, jsonType), "X-UNICORE-User-Preferences", "group:wheel"), 403, ""},
		{"preferred uid not available", with(post("/TEST", emptyPath, jsonType), "X-UNICORE-User-Preferences", "uid:root"), 403, ""},
		{"malformed preference", with(post("/TEST", emptyPath, jsonType), "X-UNICORE-User-Preferences", "group"), 403, ""},
		{"preferred role", with(post("/TEST", emptyPath, jsonType), "X-UNICORE-User-Preferences", "role:anonymous"), 403, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.call.do(t, client)
			if got.status != tc.status {
				t.Fatalf("status %d %s, want %d", got.status, got.body, tc.status)
			}
			if tc.message == "" {
				return
			}
			doc := got.json(t)
			if message, _ := doc["errorMessage"].(string); !strings.Contains(message, tc.message) {
				t.Errorf("message %q, want %q", message, tc.message)
			}
			if doc["status"] != float64(tc.status) {
				t.Errorf("status %v in the document", doc["status"])
			}
		})
	}
}

func with(c call, name, value string) call {
	c.header = c.header.Clone()
	c.header.Set(name, value)
	return c
}

// All failures of UFTPD itself arrive as HTTP 500 with its own words, or 503.
func TestAuthSessionLimit(t *testing.T) {
	uftptest.Each(t, uftptest.Config{MaxConnections: 2}, func(t *testing.T, s *uftptest.Server) {
		client := httpClient(t, s)
		for range 2 {
			if got := login(s, demo, emptyPath).do(t, client); got.status != 200 {
				t.Fatalf("status %d", got.status)
			}
		}
		got := login(s, demo, emptyPath).do(t, client)
		want := "UFTPD server 'TEST': <ERROR::Too many active sessions for 'demo' - server limit is 2>"
		if got.status != 500 || got.json(t)["errorMessage"] != want {
			t.Errorf("%d %s, want %q", got.status, got.body, want)
		}
		if stats := s.AuthStats(); stats.Logins != 2 {
			t.Errorf("%d logins counted, want 2", stats.Logins)
		}
	})
}

func TestAuthWithoutUFTPD(t *testing.T) {
	// Nothing listens at port 1 of the loopback address.
	s := uftptest.Start(t, uftptest.Config{CommandPort: "127.0.0.1:1"})
	client := httpClient(t, s)
	got := login(s, demo, emptyPath).do(t, client)
	if got.status != 503 || got.json(t)["errorMessage"] != "DOWN" {
		t.Errorf("login: %d %s", got.status, got.body)
	}
	server, _ := get(s.InfoURL(), "").do(t, client).json(t)["TEST"].(map[string]any)
	if server["status"] != "DOWN" {
		t.Errorf("status %v, want DOWN", server["status"])
	}
}

func TestAuthInfo(t *testing.T) {
	uftptest.Each(t, uftptest.Config{
		MaxConnections: 7,
		Users: []uftptest.User{{
			Name: "demo", Password: "demo-password", Groups: []string{"demo", "project"},
			RateLimit: 1 << 20, Includes: "/a/*", Excludes: "/b/*",
		}},
	}, func(t *testing.T, s *uftptest.Server) {
		client := httpClient(t, s)
		for _, u := range []string{s.InfoURL(), s.InfoURL() + "/"} {
			doc := get(u, "").do(t, client).json(t)
			server, _ := doc["TEST"].(map[string]any)
			if server["href"] != s.AuthURL() || server["status"] != "OK" || server["sessionLimit"] != float64(7) {
				t.Errorf("anonymous: %v", server)
			}
			if _, ok := server["uid"]; ok {
				t.Error("anonymous client has a uid")
			}
			if role := dig(doc, "client", "role", "selected"); role != "anonymous" {
				t.Errorf("anonymous: role %v", role)
			}
		}
		doc := get(s.InfoURL(), demo).do(t, client).json(t)
		for path, want := range map[string]any{
			"TEST uid": "demo", "TEST gid": "demo", "TEST rateLimit": float64(1 << 20),
			"TEST allowed": "/a/*", "TEST forbidden": "/b/*",
			"client role selected": "user", "client xlogin UID": "demo", "client authenticationMethod": "PASSWORD",
		} {
			if got := dig(doc, strings.Fields(path)...); got != want {
				t.Errorf("%s: %v, want %v", path, got, want)
			}
		}
		if got := get(s.InfoURL(), basic("demo", "wrong")).do(t, client); got.status != 403 {
			t.Errorf("wrong password: status %d", got.status)
		}
	})
}

// dig looks into nested objects.
func dig(doc any, path ...string) any {
	for _, name := range path {
		m, _ := doc.(map[string]any)
		doc = m[name]
	}
	return doc
}

func TestAuthCertificates(t *testing.T) {
	dir := t.TempDir()
	cfg := uftptest.Config{CertDir: dir, Hostnames: []string{"localhost", "uftp.example", "127.0.0.3"}}
	first := uftptest.Start(t, cfg)
	second := uftptest.Start(t, cfg)
	if !bytes.Equal(first.CABundle(), second.CABundle()) {
		t.Error("the second server does not have the certificates of the first")
	}
	if !strings.HasPrefix(first.AuthURL(), "https://localhost:") {
		t.Errorf("URL %s does not have the first host name", first.AuthURL())
	}
	client := httpClient(t, first)
	for _, s := range []*uftptest.Server{first, second} {
		got := get(s.InfoURL()+"/certificate", "").do(t, client)
		if got.status != 200 || !strings.HasPrefix(got.body, "-----BEGIN CERTIFICATE-----") {
			t.Errorf("certificate: %d %q", got.status, got.body)
		}
	}
	for _, name := range []string{"localhost", "uftp.example", "127.0.0.1", "::1", "127.0.0.3"} {
		tr, _ := client.Transport.(*http.Transport)
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: tr.TLSClientConfig.RootCAs, ServerName: name}}).
			DialContext(t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(second.AuthURL(), "https://"), "/rest/auth/TEST"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
	other := uftptest.Start(t, uftptest.Config{})
	if _, err := get(other.InfoURL(), "").try(t, client); err == nil {
		t.Error("the certificate of another server is trusted")
	}
}

func TestAuthFaults(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	client := httpClient(t, s)
	faults := s.AuthFaults()
	for _, tc := range []struct {
		name  string
		fault uftptest.AuthFault
		check func(*testing.T, answer, error)
	}{
		{"500", uftptest.AuthFault{Status: 500}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 500 || a.json(t)["status"] != float64(500) {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"503 with text", uftptest.AuthFault{Status: 503, Body: "<html>busy</html>", ContentType: "text/html"}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 503 || a.body != "<html>busy</html>" || a.header.Get("Content-Type") != "text/html" {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"garbage", uftptest.AuthFault{Status: 200, Body: "{\"success\":tr"}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || a.body != "{\"success\":tr" {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"redirect", uftptest.AuthFault{Status: 302, Location: "https://elsewhere.example/"}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 302 || a.header.Get("Location") != "https://elsewhere.example/" {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"close", uftptest.AuthFault{Close: true}, func(t *testing.T, a answer, err error) {
			if err == nil {
				t.Errorf("answer %v", a)
			}
		}},
		{"failure", uftptest.AuthFault{Failure: "no luck"}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || a.json(t)["success"] != false || a.json(t)["reason"] != "no luck" {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"other host", uftptest.AuthFault{Host: "192.0.2.1", Port: 9, Secret: "wrong"}, func(t *testing.T, a answer, err error) {
			doc := a.json(t)
			if err != nil || doc["serverHost"] != "192.0.2.1" || doc["serverPort"] != float64(9) || doc["secret"] != "wrong" {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"delay", uftptest.AuthFault{Delay: time.Millisecond}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		}},
		{"other path", uftptest.AuthFault{Path: "/oauth/", Status: 500}, func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faults.Inject(1, tc.fault)
			a, err := login(s, demo, emptyPath).try(t, client)
			tc.check(t, a, err)
			faults.Clear()
			if got := login(s, demo, emptyPath).do(t, client); got.status != 200 {
				t.Errorf("status %d once the fault is used up", got.status)
			}
		})
	}
}

// The server closes, and the test ends, although a request stalls.
func TestAuthStall(t *testing.T) {
	s, err := uftptest.New(uftptest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	client := httpClient(t, s)
	s.AuthFaults().Inject(-1, uftptest.AuthFault{Stall: true})
	done := make(chan error, 1)
	go func() {
		_, err := login(s, demo, emptyPath).try(t, client)
		done <- err
	}()
	for s.AuthStats().Requests == 0 {
		select {
		case err := <-done:
			t.Fatalf("the request did not stall: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the stalled request got an answer")
	}
}

func TestAuthChangeUsers(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	client := httpClient(t, s)
	status := func(auth string) int { return login(s, auth, emptyPath).do(t, client).status }

	s.AddToken("demo", "token", time.Time{})
	if status(demo) != 200 || status("Bearer token") != 200 {
		t.Fatal("demo cannot log in")
	}
	s.SetUser(uftptest.User{Name: "demo", Password: "rotated", Tokens: []string{"new"}})
	if status(demo) != 403 || status("Bearer token") != 403 {
		t.Error("old credentials are accepted")
	}
	if status(basic("demo", "rotated")) != 200 || status("Bearer new") != 200 {
		t.Error("new credentials are refused")
	}
	issued, err := s.IssueToken("demo", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.RemoveUser("demo")
	if status(basic("demo", "rotated")) != 403 || status("Bearer new") != 403 || status("Bearer "+issued) != 403 {
		t.Error("a removed user is accepted")
	}
}

func TestAuthInstances(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{Instances: 2, MaxConnections: 100})
	client := httpClient(t, s)
	if status := dig(get(s.InfoURL(), "").do(t, client).json(t), "TEST", "status"); status != "OK [2 of 2 UFTPD servers available]" {
		t.Errorf("status %q", status)
	}
	port := func(suffix string) any {
		c := login(s, demo, emptyPath)
		c.url += suffix
		return c.do(t, client).json(t)["serverPort"]
	}
	one, two := port("-1"), port("-2")
	if one == two || one == nil {
		t.Fatalf("ports %v and %v", one, two)
	}
	a, b, c := port(""), port(""), port("")
	if a == b || a != c {
		t.Errorf("not in turn: %v %v %v of %v %v", a, b, c, one, two)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]uftptest.Config{
		"no directory":      {},
		"missing directory": {Dir: "/nonexistent/dir"},
		"file":              {Dir: "/etc/passwd"},
		"server name":       {Dir: t.TempDir(), ServerName: "A-B"},
		"user twice":        {Dir: t.TempDir(), Users: []uftptest.User{{Name: "a"}, {Name: "b"}, {Name: "a"}}},
		"user without name": {Dir: t.TempDir(), Users: []uftptest.User{{Password: "b"}}},
		"bad address":       {Dir: t.TempDir(), AuthListen: "192.0.2.1:1"},
	} {
		s, err := uftptest.New(cfg)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
