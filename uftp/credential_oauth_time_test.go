package uftp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// pipeListener is a network of pipes, on which synctest's clock can run.
type pipeListener struct {
	conns chan net.Conn
	done  context.Context
	close context.CancelFunc
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done.Done():
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { l.close(); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// startPipedOAuth is an auth service and a token endpoint on such a network.
func startPipedOAuth(t *testing.T, token http.HandlerFunc) uftp.AuthRequest {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/token", token)
	mux.HandleFunc("/rest/auth/TEST", reply(http.StatusOK, nil, goodReply))
	done, cancel := context.WithCancel(context.Background())
	l := pipeListener{make(chan net.Conn), done, cancel}
	server := &httptest.Server{Listener: l, Config: &http.Server{
		Handler: mux, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return uftp.AuthRequest{
		AuthURL: "https://auth.invalid/rest/auth/TEST", Insecure: true, Dial: l.dial,
		Access: uftp.Access{Credential: &uftp.OAuthRefresh{TokenURL: "https://auth.invalid/token", ClientID: "id", RefreshToken: "r"}},
	}
}

func TestOAuthRefreshRenewsEarly(t *testing.T) {
	for _, tt := range []struct {
		expires string
		keep    time.Duration
	}{
		{`,"expires_in":3600`, 3570 * time.Second},
		{`,"expires_in":20`, 10 * time.Second},
		{`,"expires_in":-1`, 270 * time.Second},
		{``, 270 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			r := startPipedOAuth(t, func(w http.ResponseWriter, req *http.Request) {
				asked++
				reply(http.StatusOK, nil, fmt.Sprintf(`{"access_token":"a"%s}`, tt.expires))(w, req)
			})
			r.HTTPTimeout = time.Second
			for i, pause := range []time.Duration{0, tt.keep - time.Second, time.Second} {
				time.Sleep(pause)
				if _, err := uftp.Authenticate(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if want := 1 + i/2; asked != want {
					t.Errorf("%q: asked %d times after %v, want %d", tt.expires, asked, pause, want)
				}
			}
		})
	}
}

// TestOAuthRefreshHangs shows that a token endpoint that does not answer keeps
// nobody longer than his context, his time limit, and the time of grace.
func TestOAuthRefreshHangs(t *testing.T) {
	for name, tt := range map[string]struct {
		limit, timeout time.Duration
		want           error
		after          time.Duration
	}{
		"cancelled": {limit: 7 * time.Second, want: context.DeadlineExceeded, after: 12 * time.Second},
		"timeout":   {timeout: 7 * time.Second, want: uftp.ErrUnavailable, after: 12 * time.Second},
		"default":   {want: uftp.ErrUnavailable, after: 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startPipedOAuth(t, func(_ http.ResponseWriter, req *http.Request) {
					_, _ = io.Copy(io.Discard, req.Body)
					<-req.Context().Done()
				})
				r.HTTPTimeout = tt.timeout
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				start := time.Now()
				_, err := uftp.Authenticate(ctx, r)
				if took := time.Since(start); !errors.Is(err, tt.want) || took != tt.after {
					t.Errorf("after %v: %v, want %v after %v", took, err, tt.want, tt.after)
				}
			})
		})
	}
}

// TestOAuthRefreshLeaderGivesUp shows that what ends one caller's renewal, his
// own context, is not the answer for those who waited with him.
func TestOAuthRefreshLeaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := startPipedOAuth(t, func(w http.ResponseWriter, req *http.Request) {
			if asked++; asked == 1 {
				_, _ = io.Copy(io.Discard, req.Body)
				<-req.Context().Done()
				return
			}
			reply(http.StatusOK, nil, `{"access_token":"a"}`)(w, req)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var leader, follower error
		var wg sync.WaitGroup
		wg.Go(func() { _, leader = uftp.Authenticate(ctx, r) })
		synctest.Wait()
		wg.Go(func() { _, follower = uftp.Authenticate(t.Context(), r) })
		wg.Wait()
		if !errors.Is(leader, context.DeadlineExceeded) || follower != nil || asked != 2 {
			t.Errorf("asked %d times; errors are %v and %v, want the deadline's and none", asked, leader, follower)
		}
	})
}
