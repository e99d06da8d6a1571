package uftptest

import (
	"slices"
	"sync"
)

// AuthStats counts what an auth service did.
type AuthStats struct {
	Requests int // of any kind
	Logins   int // one-time passwords given out
	Refused  int // requests whose credentials were not accepted
	Tokens   int // access tokens given out by the OAuth token endpoint
	Faults   int // requests that an injected fault answered or dropped
}

// An AuthRequest is one request for a one-time password, as it arrived.
type AuthRequest struct {
	User   string // "" if not authenticated
	Method string // PASSWORD, OAUTH, SSHKEY, ETD; "" without credentials
	Server string // the last element of the URL path
	Status int    // the HTTP status of the answer
	// Password is the one-time password in the answer, "" if there is none.
	Password string

	ServerPath  string // as sent, session tag included
	WantsWrite  bool   // said "send": false, which counts for shares alone
	Persistent  bool
	StreamCount int
	Compress    bool
	Key         []byte
	Algorithm   string
	Group       string
	ClientIPs   []string // that may log in, the peer's own if the request names none
	Preferences string   // the X-UNICORE-User-Preferences header
}

// maxJournal bounds what a server that runs for long remembers.
const maxJournal = 1000

type journal struct {
	mu       sync.Mutex
	totals   AuthStats
	requests []AuthRequest // the last ones
}

func (j *journal) count(f func(*AuthStats)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.totals)
}

func (j *journal) add(r AuthRequest) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.requests) == maxJournal {
		j.requests = slices.Delete(j.requests, 0, maxJournal/2)
	}
	j.requests = append(j.requests, r)
}

func (a *authService) stats() AuthStats {
	a.journal.mu.Lock()
	defer a.journal.mu.Unlock()
	return a.journal.totals
}

func (a *authService) requests() []AuthRequest {
	a.journal.mu.Lock()
	defer a.journal.mu.Unlock()
	return slices.Clone(a.journal.requests)
}
