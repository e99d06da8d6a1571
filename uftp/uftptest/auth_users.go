package uftptest

import (
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"
)

// directory is who may log in, and with what. It is the part of the auth
// service that tests change while it runs.
type directory struct {
	mu      sync.Mutex
	users   map[string]User
	tokens  map[string]bearer // opaque bearer tokens beside User.Tokens
	refresh map[string]string // refresh token → user name
}

// bearer is what an opaque token stands for.
type bearer struct {
	user    string
	expires time.Time // zero for never
}

func newDirectory(users []User) *directory {
	d := &directory{users: map[string]User{}, tokens: map[string]bearer{}, refresh: map[string]string{}}
	for _, u := range users {
		d.set(u)
	}
	return d
}

// set adds or replaces a user. What the old one could log in with is void.
func (d *directory) set(u User) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(u.Name)
	d.users[u.Name] = u
	for _, t := range u.Tokens {
		d.tokens[t] = bearer{user: u.Name}
	}
	for _, t := range u.Refresh {
		d.refresh[t] = u.Name
	}
}

func (d *directory) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(name)
}

func (d *directory) drop(name string) {
	delete(d.users, name)
	maps.DeleteFunc(d.tokens, func(_ string, b bearer) bool { return b.user == name })
	maps.DeleteFunc(d.refresh, func(_, user string) bool { return user == name })
}

func (d *directory) user(name string) (User, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.users[name]
	return u, ok
}

// byDN finds the user that a token issued by this service is about.
func (d *directory) byDN(dn string) (User, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.users {
		if u.dn() == dn {
			return u, true
		}
	}
	return User{}, false
}

// byToken finds the user of an opaque bearer token that has not expired.
func (d *directory) byToken(token string) (User, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.tokens[token]
	if !ok || !b.expires.IsZero() && !time.Now().Before(b.expires) {
		return User{}, false
	}
	u, ok := d.users[b.user]
	return u, ok
}

func (d *directory) addToken(user, token string, expires time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens[token] = bearer{user, expires}
}

// revokeTokens voids all opaque bearer tokens, refresh tokens apart.
func (d *directory) revokeTokens() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.tokens)
}

// exchange makes an access token for a refresh token and, on rotate, replaces
// the latter.
func (d *directory) exchange(refresh string, lifetime time.Duration, rotate bool) (access, next string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	user, ok := d.refresh[refresh]
	if !ok {
		return "", "", false
	}
	access = "access-" + rand.Text()
	d.tokens[access] = bearer{user, time.Now().Add(lifetime)}
	if rotate {
		next = "refresh-" + rand.Text()
		delete(d.refresh, refresh)
		d.refresh[next] = user
	}
	return access, next, true
}

// SetUser adds a user or replaces the one of that name, and with it all
// credentials: what only the old one had is refused from now on. One-time
// passwords that were given out stay valid.
func (s *Server) SetUser(u User) {
	u.Groups = slices.Clone(u.Groups)
	s.auth.users.set(u.withDefaults())
}

// RemoveUser makes the name and its credentials unknown.
func (s *Server) RemoveUser(name string) { s.auth.users.remove(name) }

// AddToken makes the auth service accept a bearer token for a user until it
// expires; never if that is the zero time.
func (s *Server) AddToken(user, token string, expires time.Time) {
	s.auth.users.addToken(user, token, expires)
}

// RevokeTokens voids all bearer tokens, those from the token endpoint and those
// of Users too. Refresh tokens and tokens that the service signed stay valid.
func (s *Server) RevokeTokens() { s.auth.users.revokeTokens() }
