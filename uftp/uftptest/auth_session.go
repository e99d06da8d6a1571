package uftptest

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	sessionHeader         = "X-UNICORE-SecuritySession"
	sessionLifetimeHeader = "X-UNICORE-SecuritySession-Lifetime" // milliseconds
	sessionLifetime       = 8 * time.Hour

	// statusSessionUnknown is UNICORE's own HTTP status: drop the session id and
	// send the credentials again.
	statusSessionUnknown = 432
)

// securitySessions are the ids that stand in for credentials. A nil one hands
// out none and does not look at the header.
type securitySessions struct {
	mu   sync.Mutex
	byID map[string]securitySession
}

type securitySession struct {
	identity identity
	expires  time.Time
}

// find looks for the session that r belongs to. given tells whether it names
// one, ok whether that one is alive.
func (s *securitySessions) find(r *http.Request) (id identity, given, ok bool) {
	key := r.Header.Get(sessionHeader)
	if s == nil || key == "" {
		return identity{}, false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.byID[key]
	return session.identity, true, ok && time.Now().Before(session.expires)
}

// open starts a session for id and announces it in h.
func (s *securitySessions) open(h http.Header, id identity) {
	if s == nil {
		return
	}
	key := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[key] = securitySession{id, time.Now().Add(sessionLifetime)}
	h.Set(sessionHeader, key)
	h.Set(sessionLifetimeHeader, strconv.FormatInt(sessionLifetime.Milliseconds(), 10))
}

// ExpireSecuritySessions makes the auth service forget the sessions that stand
// in for credentials: requests with one of them get HTTP 432.
func (s *Server) ExpireSecuritySessions() {
	if sessions := s.auth.sessions; sessions != nil {
		sessions.mu.Lock()
		defer sessions.mu.Unlock()
		clear(sessions.byID)
	}
}
