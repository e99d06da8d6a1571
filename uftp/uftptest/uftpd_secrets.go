package uftptest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A registration is a job and the logins it has seen.
type registration struct {
	job
	expires time.Time
	logins  []*login // running, or ended and not swept yet
}

// A login is a session's place in the limits.
type login struct{ ended bool }

// secrets knows the registered jobs, and counts per user: each secret counts 1
// from its registration on, used or not, each further login on it 1 more. What
// has ended is noticed by sweep only, so that slots are freed late.
type secrets struct {
	limit    int // sessions per user
	lifetime time.Duration
	reusable bool // every secret is persistent

	mu     sync.Mutex
	jobs   map[string]*registration // by secret
	counts map[string]int           // by Unix user
}

func newSecrets(limit int, q Quirks) *secrets {
	return &secrets{
		limit:    limit,
		lifetime: q.SecretLifetime,
		reusable: q.AllPersistent,
		jobs:     make(map[string]*registration),
		counts:   make(map[string]int),
	}
}

// register adds a job, or returns a refusedError.
func (t *secrets) register(j job) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Equality, not more: logins on persistent secrets never go beyond the limit.
	if t.counts[j.user] == t.limit {
		return refusedError(fmt.Sprintf("Too many active sessions for '%s' - server limit is %d", j.user, t.limit))
	}
	if t.jobs[j.secret] != nil {
		return refusedError("Duplicate secret - this is not allowed.")
	}
	t.counts[j.user]++
	t.jobs[j.secret] = &registration{job: j, expires: time.Now().Truncate(time.Second).Add(t.lifetime)}
	return nil
}

// find returns the job of a secret, or nil.
func (t *secrets) find(secret string) *registration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.jobs[secret]
}

// login takes a place for a session. If there is none it returns what the
// client is told.
func (t *secrets) login(r *registration) (l *login, refusal string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(r.logins) > 0 {
		if !r.persistent && !t.reusable {
			return nil, "500 Session for these credentials is already running"
		}
		if t.counts[r.user]+1 > t.limit {
			return nil, fmt.Sprintf("500 Too many active transfer requests / sessions for '%s' - server limit is %d", r.user, t.limit)
		}
		t.counts[r.user]++
	}
	l = new(login)
	r.logins = append(r.logins, l)
	return l, ""
}

// end marks a session as ended.
func (t *secrets) end(l *login) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.ended = true
}

// sweep forgets ended sessions, secrets whose last session has ended, and
// expired secrets.
func (t *secrets) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for secret, r := range t.jobs {
		if len(r.logins) == 0 {
			if time.Now().After(r.expires) {
				delete(t.jobs, secret)
				t.counts[r.user]--
			}
			continue
		}
		before := len(r.logins)
		r.logins = slices.DeleteFunc(r.logins, func(l *login) bool { return l.ended })
		t.counts[r.user] -= before - len(r.logins)
		if len(r.logins) == 0 {
			delete(t.jobs, secret)
		}
	}
}

// expire forgets all secrets. Running sessions go on, and are counted no more.
func (t *secrets) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.jobs)
	clear(t.counts)
}
