package uftptest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// authService is the HTTPS half of a server: it knows people and asks a backend
// to expect them.
type authService struct {
	cfg      Config
	log      *slog.Logger
	backends []backend
	certs    *certificates
	users    *directory
	sessions *securitySessions // nil when switched off
	shares   shareBook
	faults   AuthFaults
	journal  journal
	started  time.Time
	turn     atomic.Int64 // of the backends

	listener net.Listener
	server   *http.Server
	cancel   context.CancelFunc // ends requests that stall
	running  sync.WaitGroup     // the accept loop and the connections
}

func newAuthService(cfg Config, backends []backend) (*authService, error) {
	certs, err := loadCertificates(cfg.CertDir, cfg.Hostnames)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := cfg.Listen(ctx, "tcp", cfg.AuthListen)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen for the auth service: %w", err)
	}
	a := &authService{
		cfg: cfg, log: cfg.Logger.With("service", "auth"), backends: backends, certs: certs,
		users: newDirectory(cfg.Users), started: time.Now(), listener: listener, cancel: cancel,
	}
	if cfg.SecuritySessions {
		a.sessions = &securitySessions{byID: map[string]securitySession{}}
	}
	a.server = &http.Server{
		Handler:           a.withFaults(a.routes()),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certs.tls}, MinVersion: tls.VersionTLS12},
		Protocols:         new(http.Protocols), // HTTP/1.1 alone, as the real service
		ConnState:         a.track,
	}
	a.server.Protocols.SetHTTP1(true)
	a.running.Go(func() {
		if err := a.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("auth service ended", "err", err)
		}
	})
	return a, nil
}

// track counts the connections, so that close can wait for them.
func (a *authService) track(_ net.Conn, state http.ConnState) {
	switch state { //nolint:exhaustive // only the first and the last state matter; nothing is hijacked
	case http.StateNew:
		a.running.Add(1)
	case http.StateClosed:
		a.running.Done()
	}
}

func (a *authService) close() error {
	a.cancel()
	err := a.server.Close()
	a.running.Wait()
	return err
}

// baseURL is where clients reach the service.
func (a *authService) baseURL() string {
	host, port, err := net.SplitHostPort(a.listener.Addr().String())
	if err != nil {
		return "https://" + a.listener.Addr().String()
	}
	if len(a.cfg.Hostnames) > 0 {
		host = a.cfg.Hostnames[0]
	} else if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// routes maps the paths of the real service. As there, the method and the media
// types are looked at before the credentials, and these before everything else.
func (a *authService) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path, consumes, produces string, h func(http.ResponseWriter, *http.Request, identity)) {
		mux.HandleFunc(method+" "+path, a.negotiated(consumes, produces, a.identified(h)))
	}
	handle("GET", "/rest/auth", "", "application/json", a.info)
	handle("GET", "/rest/auth/{$}", "", "application/json", a.info)
	handle("GET", "/rest/auth/token", "", "text/plain", a.token)
	handle("GET", "/rest/auth/certificate", "", "text/plain", a.certificate)
	handle("POST", "/rest/auth/{server}", "application/json", "application/json", a.login)
	if a.cfg.Sharing {
		a.routeShares(handle)
		a.routeSharesHTTP(mux)
	}
	mux.HandleFunc("POST /oauth/token", a.oauthToken)
	return mux
}

// withFaults lets injected faults act before anything else, and limits what a
// request may weigh.
func (a *authService) withFaults(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut { // of files
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		}
		a.journal.count(func(s *AuthStats) { s.Requests++ })
		f := a.faults.next(r.URL.Path)
		if f.show(w, r) {
			a.journal.count(func(s *AuthStats) { s.Faults++ })
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), faultKey{}, f)))
	})
}

// faultKey is the context key of the [AuthFault] that alters an answer.
type faultKey struct{}

// negotiated answers 415 and 406 for media types that the resource has not.
func (a *authService) negotiated(consumes, produces string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if ct := r.Header.Get("Content-Type"); consumes != "" && ct != "" {
			if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != consumes {
				w.WriteHeader(http.StatusUnsupportedMediaType)
				return
			}
		}
		if !accepts(r.Header.Values("Accept"), produces) {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		next(w, r)
	}
}

// accepts reports whether Accept headers allow a media type. None allows all.
func accepts(headers []string, mediaType string) bool {
	major, _, _ := strings.Cut(mediaType, "/")
	for _, h := range headers {
		for item := range strings.SplitSeq(h, ",") {
			mt, params, err := mime.ParseMediaType(item)
			if err == nil && params["q"] != "0" && (mt == mediaType || mt == "*/*" || mt == major+"/*") {
				return true
			}
		}
	}
	return len(headers) == 0
}

// identified finds out who asks, by security session or credentials.
func (a *authService) identified(next func(http.ResponseWriter, *http.Request, identity)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, given, ok := a.sessions.find(r)
		switch {
		case given && !ok:
			w.WriteHeader(statusSessionUnknown)
			return
		case given:
			// The identity of the session counts; credentials are not looked at.
			w.Header().Set(sessionHeader, r.Header.Get(sessionHeader))
		default:
			var err error
			if id, err = a.identify(r.Context(), r); err != nil {
				a.log.Info("refused", "path", r.URL.Path, "err", err)
				a.journal.count(func(s *AuthStats) { s.Refused++ })
				w.WriteHeader(http.StatusForbidden)
				return
			}
			a.sessions.open(w.Header(), id)
		}
		next(w, r, id)
	}
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no concern of ours
}

// writeError answers with the service's error document.
func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"errorMessage": message, "status": status})
}
