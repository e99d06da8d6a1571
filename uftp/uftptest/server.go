package uftptest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// A Server is an auth service and the UFTPD (or several) behind it.
type Server struct {
	cfg      Config
	backends []backend
	engine   *engine // the first backend if it is ours, else nil
	auth     *authService
	close    sync.Once
}

// New starts a server. The caller closes it.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("uftptest: %w", err)
	}
	s := &Server{cfg: cfg}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("uftptest: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// start makes the backends that cfg asks for, unless there are some already,
// and the auth service.
func (s *Server) start() error {
	switch {
	case len(s.backends) > 0:
	case s.cfg.CommandPort != "":
		s.backends = []backend{newCommandPortBackend(s.cfg.CommandPort)}
	default:
		for range s.cfg.Instances {
			e, err := newEngine(s.cfg, s.engine)
			if err != nil {
				return err
			}
			if s.engine == nil {
				s.engine = e
			}
			s.backends = append(s.backends, e)
		}
	}
	cfg := s.cfg
	if s.engine != nil {
		cfg.Listen = s.engine.listenShaped
	}
	var err error
	s.auth, err = newAuthService(cfg, s.backends)
	return err
}

// Start is [New] for a test: the server is closed when the test ends. A server
// without a Dir gets a temporary one.
func Start(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.Dir == "" && cfg.CommandPort == "" {
		cfg.Dir = tb.TempDir()
	}
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Close ends all connections, stops what the server started and waits for it.
// Another call does nothing.
func (s *Server) Close() error {
	var errs []error
	s.close.Do(func() {
		if s.auth != nil {
			errs = append(errs, s.auth.close())
		}
		for _, b := range s.backends {
			errs = append(errs, b.close())
		}
	})
	return errors.Join(errs...)
}

// AuthURL is the URL to authenticate at, https://HOST:PORT/rest/auth/NAME.
func (s *Server) AuthURL() string { return s.auth.baseURL() + "/rest/auth/" + s.cfg.ServerName }

// InfoURL is the URL of the info document, https://HOST:PORT/rest/auth.
func (s *Server) InfoURL() string { return s.auth.baseURL() + "/rest/auth" }

// AccessURL is the URL to authenticate at for what others share,
// https://HOST:PORT/rest/access/NAME.
func (s *Server) AccessURL() string { return s.auth.baseURL() + "/rest/access/" + s.cfg.ServerName }

// UserDN is the distinguished name that the auth service knows a user by.
func (s *Server) UserDN(name string) string { return User{Name: name}.dn() }

// TokenURL is the URL of the OAuth 2.0 token endpoint, https://HOST:PORT/oauth/token.
func (s *Server) TokenURL() string { return s.auth.baseURL() + "/oauth/token" }

// CABundle is the PEM text of the certificate authority that signed the auth
// service's certificate.
func (s *Server) CABundle() []byte { return s.auth.certs.caPEM }

// Dir is the directory served.
func (s *Server) Dir() string { return s.cfg.Dir }

// AuthFaults breaks the auth service.
func (s *Server) AuthFaults() *AuthFaults { return &s.auth.faults }

// AuthStats counts what the auth service did so far.
func (s *Server) AuthStats() AuthStats { return s.auth.stats() }

// AuthRequests are the requests for one-time passwords so far, in order.
func (s *Server) AuthRequests() []AuthRequest { return s.auth.requests() }

// KillSessions ends all FTP sessions as a crash of UFTPD's session processes
// would: connections close without a word. One-time passwords follow their usual
// rules.
func (s *Server) KillSessions() error { return s.control(controls.killSessions) }

// ExpireSecrets makes UFTPD forget all one-time passwords, as a restart of it
// would. Sessions that are logged in live on.
func (s *Server) ExpireSecrets() error { return s.control(controls.expireSecrets) }

func (s *Server) control(f func(controls) error) error {
	var errs []error
	for _, b := range s.backends {
		c, ok := b.(controls)
		if !ok {
			return errors.New("uftptest: this UFTPD was started by somebody else: " + errors.ErrUnsupported.Error())
		}
		errs = append(errs, f(c))
	}
	return errors.Join(errs...)
}
