package uftp

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRedactor checks that a secret is found in the ways a server may echo it.
func TestRedactor(t *testing.T) {
	const secret = "p<ä \"&\\/ß'%  x"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://h", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("demo", secret)
	redact := newRedactor(req, "other", "", " ")
	inJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"as it is":         {secret, redacted},
		"in text":          {"no user demo:" + secret + "!", "no user [redacted]!"},
		"blanks collapsed": {strings.Join(strings.Fields(secret), " "), redacted},
		"JSON in JSON":     {string(inJSON), `"[redacted]"`},
		"URL":              {"p%3C%C3%A4+%22%26%5C%2F%C3%9F%27%25++x", redacted},
		"HTML":             {"p&lt;ä &#34;&amp;\\/ß&#39;%  x", redacted},
		"quoted by Go":     {`p<ä \"&\\/ß'%  x`, redacted},
		"header":           {req.Header.Get("Authorization"), "Basic [redacted]"},
		"other":            {"another other", "an[redacted] [redacted]"},
		"twice":            {secret + secret, redacted + redacted},
		"at the cut":       {strings.Repeat("x", maxMsg-20) + secret, strings.Repeat("x", maxMsg-20) + redacted},
		"line break in it": {"oth\ner other", "oth er [redacted]"},
		"invisible in it":  {"ot\u202eher", redacted},
		"other blanks":     {strings.ReplaceAll(secret, "  ", "\n\t"), redacted},
		"nothing to hide":  {"all is well", "all is well"},
	} {
		if got := redact.text(tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("password", "the password is wrong")
	f.Add("a\\\"b", "x a\\\\\\\"b \x00\u202e")
	f.Fuzz(func(t *testing.T, secret, text string) {
		got := newRedactor(nil, secret).text(text)
		if len(got) > maxMsg || !utf8.ValidString(got) || hasControlChar(got) {
			t.Errorf("text is not fit to be shown: %q", got)
		}
		if s := strings.TrimSpace(secret); len(s) > 2 && strings.Contains(got, s) && !strings.Contains(redacted, s) {
			// The secret may come about anew around a [redacted], from parts of
			// the text that are no secret.
			if !strings.Contains(s, redacted) && !strings.Contains(got, redacted) {
				t.Errorf("%q is in %q", s, got)
			}
		}
	})
}

func FuzzLoginReply(f *testing.F) {
	f.Add(200, `{"success":true,"reason":"","serverHost":"localhost","serverPort":64434,"secret":"qwhxnbzlmvcotyeruapd"}`)
	f.Add(200, `{"success":false,"reason":"no"}`)
	f.Add(200, `{"serverHost":"a,[::1]","serverPort":"6.4e4","secret":"x"}`)
	f.Add(500, `{"errorMessage":"Too many active sessions","status":500}`)
	f.Add(302, `{}`)
	ex := exchange{op: "authenticate", path: "https://h/rest/auth/T"}
	f.Fuzz(func(t *testing.T, status int, body string) {
		res := &result{status: status, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(body), redact: newRedactor(nil, "hunter2")}
		login, err := ex.parseLogin(res)
		if err != nil {
			if strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 2*maxMsg {
				t.Errorf("error %q", err)
			}
			return
		}
		if login.Port < 1 || login.Port > 65535 || len(login.Addresses()) == 0 || strings.ContainsAny(login.Password.Reveal(), "\r\n \x00") {
			t.Errorf("login %v at %q accepted", login, login.Addresses())
		}
	})
}

func FuzzAuthInfo(f *testing.F) {
	f.Add([]byte(`{"TEST":{"href":"h","status":"OK","sessionLimit":8,"availableGroups":["a"],"dataSharing":{"enabled":true}},
		"client":{"role":{"selected":"user"},"xlogin":{"UID":"u"}},"server":{"version":"3"}}`))
	f.Add([]byte(`{"TEST":{"sessionLimit":"1e3","rateLimit":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if info, err := parseAuthInfo(data); err == nil && info.Servers == nil {
			t.Error("no error and no servers")
		}
	})
}

func FuzzOAuthReply(f *testing.F) {
	f.Add(200, `{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r"}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"d"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		ex := exchange{op: "renew token"}
		reply, err := parseOAuthReply(ex, &result{status: status, body: []byte(body), redact: newRedactor(nil, "hunter2")})
		switch {
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("error %q", err)
		case err == nil && (reply.access == "" || reply.life <= 0 || reply.life > maxTokenLife):
			t.Errorf("reply with life %v accepted", reply.life)
		}
	})
}

func FuzzAuthURL(f *testing.F) {
	for _, s := range []string{"https://h:9000/rest/auth/TEST", "https://gw/S%2F/rest/auth/T-2/", "https://u:p@h/rest/auth/T", "https://h/rest/auth/T:/x", "https://h//rest/auth//T"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := parseAuthURL(raw)
		if err != nil {
			return
		}
		if u, err := url.Parse(raw); err != nil || e.service.Host != u.Host {
			t.Errorf("%q is read as host %q", raw, e.service.Host)
		}
		again, err := parseAuthURL(e.server())
		if err != nil || again.server() != e.server() {
			t.Errorf("%q is read as %q, and that as %q, %v", raw, e.server(), again.server(), err)
		}
		if e.service.User != nil || e.service.RawQuery != "" || e.service.Scheme != "https" {
			t.Errorf("%q accepted as %q", raw, e.server())
		}
	})
}

func FuzzPrivateKey(f *testing.F) {
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("PuTTY-User-Key-File-3: ssh-ed25519"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Without a passphrase: key derivation is slow by design, and what is
		// read before it is FuzzPBES2's.
		key, err := parsePrivateKey(text, nil)
		if err != nil {
			return
		}
		if key == nil {
			t.Error("no key and no error")
		}
	})
}

func FuzzPBES2(f *testing.F) {
	f.Add([]byte("0\x81\x9b0W\x06\t*\x86H\x86\xf7\r\x01\x05\r0J"))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := parsePBES2(der)
		if err != nil {
			return
		}
		block, err := p.block(make([]byte, p.keyLen))
		if err != nil || len(p.iv) != block.BlockSize() || len(p.data)%block.BlockSize() != 0 || len(p.data) == 0 {
			t.Errorf("accepted a cipher that does not fit: %v", err)
		}
	})
}
