package uftp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// TestAuthenticateProxy runs itself anew for each case, because net/http reads
// the environment once in a process's life.
func TestAuthenticateProxy(t *testing.T) {
	const urlVariable = "UFTP_TEST_PROXY_AUTH_URL"
	if url := os.Getenv(urlVariable); url != "" {
		_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{AuthURL: url})
		fmt.Printf("error: %v\n", err)
		return
	}
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(proxy.Close)
	loopback := startAuth(t, reply(http.StatusOK, nil, goodReply))
	tests := []struct{ name, proxy, url, asked, want string }{
		{"other hosts", "http://u:MARK@" + strings.TrimPrefix(proxy.URL, "http://"), "https://auth.invalid/rest/auth/T", "CONNECT auth.invalid:443", "unavailable"},
		{"loopback", proxy.URL, loopback.AuthURL, "", "certificate not trusted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked.Store("")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAuthenticateProxy$")
			cmd.Env = append(os.Environ(), "HTTPS_PROXY="+tt.proxy, "NO_PROXY=", "no_proxy=", urlVariable+"="+tt.url)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := asked.Load(); got != tt.asked {
				t.Errorf("the proxy was asked %q, want %q", got, tt.asked)
			}
			if !strings.Contains(string(out), tt.want) || strings.Contains(string(out), "MARK") {
				t.Errorf("output %s, want %q in it and no secret", out, tt.want)
			}
		})
	}
}
