package uftptest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorder is a backend that remembers the jobs it is given.
type recorder struct{ jobs []job }

func (r *recorder) register(_ context.Context, j job) (int, error) {
	r.jobs = append(r.jobs, j)
	return 4711, nil
}

func (r *recorder) ping(context.Context) (string, string, int, int, error) {
	return "3.5.3", "127.0.0.1", 4711, 16, nil
}
func (r *recorder) userKeys(context.Context, string) ([]string, error) { return nil, nil }
func (r *recorder) close() error                                       { return nil }

// What is asked for at the auth service is what UFTPD is told.
func TestLoginBecomesJob(t *testing.T) {
	plain := job{
		user: "unix", group: "main", persistent: false, clientIPs: []string{"192.0.2.7"}, streams: 1,
		rateLimit: 5, access: "READ", includes: "/i", excludes: "/e",
	}
	change := func(f func(*job)) job {
		j := plain
		f(&j)
		return j
	}
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, tc := range []struct {
		name, body string
		header     http.Header
		want       job
	}{
		{"defaults", `{"serverPath":""}`, nil, plain},
		{"nulls", `{"serverPath":"","group":null,"client":null,"persistent":null,"encryptionKey":null}`, nil, plain},
		{"path", `{"serverPath":"/srv/data"}`, nil, change(func(j *job) { j.base = "/srv/data/" })},
		{"path with slash", `{"serverPath":"/srv/data/"}`, nil, change(func(j *job) { j.base = "/srv/data/" })},
		{"relative path", `{"serverPath":"docs"}`, nil, change(func(j *job) { j.base = "docs/" })},
		{"tag alone", `{"serverPath":"` + sessionTag + `"}`, nil, plain},
		{"tag at the root", `{"serverPath":"/` + sessionTag + `"}`, nil, change(func(j *job) { j.base = "/" })},
		{"tag", `{"serverPath":"/srv/` + sessionTag + `"}`, nil, change(func(j *job) { j.base = "/srv/" })},
		{"tag in a name", `{"serverPath":"/srv/x` + sessionTag + `"}`, nil, change(func(j *job) { j.base = "/srv/x" + sessionTag + "/" })},
		{"true values", `{"serverPath":"","persistent":true,"compress":true,"streamCount":3,"append":true,"send":true}`, nil,
			change(func(j *job) { j.persistent, j.compress, j.streams = true, true, 3 })},
		{"strings", `{"serverPath":"","persistent":"True","compress":"true","streamCount":"3","send":"false"}`, nil,
			change(func(j *job) { j.persistent, j.compress, j.streams = true, true, 3 })},
		{"other strings are false", `{"serverPath":"","persistent":"yes","compress":"1"}`, nil, plain},
		{"group", `{"serverPath":"","group":"project"}`, nil, change(func(j *job) { j.group = "project" })},
		{"preferred group", `{"serverPath":""}`, http.Header{"X-Unicore-User-Preferences": {"group:project"}},
			change(func(j *job) { j.group = "project" })},
		{"group beats preference", `{"serverPath":"","group":"main"}`, http.Header{"X-Unicore-User-Preferences": {"group:project"}}, plain},
		{"key", `{"serverPath":"","encryptionKey":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`, nil,
			change(func(j *job) { j.key, j.algo = key, "BLOWFISH" })},
		{"key and algorithm", `{"serverPath":"","encryptionKey":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=","encryptionAlgorithm":"aes"}`, nil,
			change(func(j *job) { j.key, j.algo = key, "AES" })},
		{"algorithm alone", `{"serverPath":"","encryptionAlgorithm":"AES"}`, nil, plain},
		{"client", `{"serverPath":"","client":"10.1.2.3, 10.1.2.4 ::1,no.such.host.invalid"}`, nil,
			change(func(j *job) { j.clientIPs = []string{"10.1.2.3", "10.1.2.4", "0:0:0:0:0:0:0:1"} })},
		{"address from a gateway", `{"serverPath":""}`, http.Header{"X-Unicore-Consignor-Ip": {"10.9.8.7"}},
			change(func(j *job) { j.clientIPs = []string{"10.9.8.7"} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := &recorder{}
			s := &Server{cfg: Config{Users: []User{{
				Name: "demo", Password: "pw", UnixUser: "unix", Groups: []string{"main", "project"},
				RateLimit: 5, Access: "READ", Includes: "/i", Excludes: "/e",
			}}, CommandPort: "unused"}, backends: []backend{rec}}
			var err error
			if s.cfg, err = s.cfg.withDefaults(); err != nil {
				t.Fatal(err)
			}
			if err := s.start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()

			r := httptest.NewRequestWithContext(t.Context(), "POST", "/rest/auth/TEST", strings.NewReader(tc.body))
			maps.Copy(r.Header, tc.header)
			r.SetBasicAuth("demo", "pw")
			r.RemoteAddr = "192.0.2.7:1234"
			w := httptest.NewRecorder()
			s.auth.server.Handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK || len(rec.jobs) != 1 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			got := rec.jobs[0]
			var answer loginAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			want := loginAnswer{Success: true, Host: "127.0.0.1", Port: 4711, Secret: got.secret}
			if answer != want || len(got.secret) != 20 || strings.Trim(got.secret, "abcdefghijklmnopqrstuvwxyz") != "" {
				t.Errorf("answer %+v, job's secret %q", answer, got.secret)
			}
			got.secret = ""
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(job{})); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJavaAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1":        "127.0.0.1",
		"::ffff:127.0.0.1": "127.0.0.1",
		"::1":              "0:0:0:0:0:0:0:1",
		"2001:db8::a:0":    "2001:db8:0:0:0:0:a:0",
		"fe80::1%lo":       "fe80:0:0:0:0:0:0:1",
	} {
		if got := javaAddress(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzLoginFields(f *testing.F) {
	f.Add(`{"serverPath":"/a","persistent":"true","streamCount":3,"encryptionKey":"AAAA","client":null}`)
	f.Add(`{"serverPath":{},"streamCount":"1e9"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var fields loginFields
		if json.Unmarshal([]byte(text), &fields) != nil || fields.ServerPath == nil {
			return
		}
		base := baseDirectory(string(*fields.ServerPath))
		if base != "" && !strings.HasSuffix(base, "/") {
			t.Errorf("base %q does not end in a slash", base)
		}
	})
}
