package uftptest

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// How a client authenticated, in the words of the info document.
const (
	methodNone     = ""
	methodPassword = "PASSWORD"
	methodToken    = "OAUTH"
	methodSSHKey   = "SSHKEY"
	methodIssued   = "ETD" // a token that the service signed
)

// An identity is who sends a request. The zero value is the anonymous client.
type identity struct {
	user        User
	method      string
	group       string // selected by preference, "" for the default
	anonymous   bool   // role "anonymous" was selected by preference
	preferences string // as given, for issued tokens
	renewable   bool   // an issued token that may be exchanged for another
}

// known reports whether the client is anybody.
func (id identity) known() bool { return id.method != methodNone }

// mayLogin reports whether the client's role lets it have one-time passwords.
func (id identity) mayLogin() bool { return id.known() && !id.user.NoRole && !id.anonymous }

// dn is the distinguished name of the client.
func (id identity) dn() string {
	if !id.known() {
		return "CN=ANONYMOUS,O=UNKNOWN,OU=UNKNOWN"
	}
	return id.user.dn()
}

var errCredentials = errors.New("credentials could not be verified")

// identify finds out who sends r. Any error means 403, without a reason given
// to the client.
func (a *authService) identify(ctx context.Context, r *http.Request) (identity, error) {
	id, err := a.authenticate(ctx, r.Header.Get("Authorization"))
	if err != nil {
		return identity{}, err
	}
	if id.preferences != "" {
		// A token's own preferences cannot be overridden.
		return id, id.prefer(id.preferences)
	}
	id.preferences = strings.Join(r.Header.Values("X-UNICORE-User-Preferences"), ",")
	if id.preferences == "" {
		return id, nil
	}
	return id, id.prefer(id.preferences)
}

func (a *authService) authenticate(ctx context.Context, authorization string) (identity, error) {
	scheme, value, _ := strings.Cut(authorization, " ")
	switch strings.ToLower(scheme) {
	case "basic":
		return a.authenticateBasic(authorization)
	case "bearer":
		return a.authenticateBearer(ctx, strings.TrimSpace(value))
	}
	// Schemes that no one handles are no credentials.
	return identity{}, nil
}

func (a *authService) authenticateBasic(authorization string) (identity, error) {
	name, password, ok := (&http.Request{Header: http.Header{"Authorization": {authorization}}}).BasicAuth()
	if !ok {
		return identity{}, fmt.Errorf("%w: bad Basic header", errCredentials)
	}
	u, ok := a.users.user(name)
	if !ok || u.Password == "" || subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) != 1 {
		return identity{}, errCredentials
	}
	return identity{user: u, method: methodPassword}, nil
}

// authenticateBearer takes opaque tokens first and then the two kinds of JWT:
// signed by this service for somebody, or by users for themselves.
func (a *authService) authenticateBearer(ctx context.Context, token string) (identity, error) {
	if u, ok := a.users.byToken(token); ok {
		return identity{user: u, method: methodToken}, nil
	}
	c, err := parseClaims(token)
	if err != nil {
		return identity{}, fmt.Errorf("%w: no token of ours and no JWT", errCredentials)
	}
	if c.Delegation == "true" && c.Subject != c.Issuer {
		return a.authenticateIssued(token, c)
	}
	return a.authenticateSSHKey(ctx, token, c)
}

func (a *authService) authenticateIssued(token string, c *claims) (identity, error) {
	if c.Issuer != a.certs.dn() {
		return identity{}, fmt.Errorf("%w: unknown issuer", errCredentials)
	}
	if err := verifyJWT(token, a.certs.key.Public(), a.certs.dn()); err != nil {
		return identity{}, fmt.Errorf("%w: %w", errCredentials, err)
	}
	u, ok := a.users.byDN(c.Subject)
	if !ok {
		return identity{}, fmt.Errorf("%w: user is gone", errCredentials)
	}
	return identity{user: u, method: methodIssued, preferences: c.Preferences, renewable: c.Renewable == "true"}, nil
}

// authenticateSSHKey checks a JWT that a user signed with an SSH key. The keys
// are those of the user's entry and those in the home directory on the UFTPD
// host, which are read each time (the real service keeps them for 10 minutes).
func (a *authService) authenticateSSHKey(ctx context.Context, token string, c *claims) (identity, error) {
	if c.Subject == "" || c.Subject != c.Issuer {
		return identity{}, fmt.Errorf("%w: subject and issuer differ", errCredentials)
	}
	u, ok := a.users.user(c.Subject)
	if !ok {
		return identity{}, errCredentials
	}
	err := verifyWithSSHKeys(token, u.Keys, a.certs.dn())
	if err != nil {
		keys, keysErr := a.backends[0].userKeys(ctx, u.UnixUser)
		if keysErr != nil {
			return identity{}, fmt.Errorf("%w: %w", errCredentials, keysErr)
		}
		if len(keys) > 0 {
			err = verifyWithSSHKeys(token, keys, a.certs.dn())
		}
	}
	if err != nil {
		return identity{}, fmt.Errorf("%w: %w", errCredentials, err)
	}
	return identity{user: u, method: methodSSHKey}, nil
}

// prefer applies user preferences, "name:value" separated by commas. What the
// user does not have is an error.
func (id *identity) prefer(preferences string) error {
	for item := range strings.SplitSeq(preferences, ",") {
		name, value, ok := strings.Cut(item, ":")
		if !ok || strings.Contains(value, ":") {
			return errors.New("invalid format for user preference")
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "uid", "xlogin":
			ok = value == id.user.UnixUser
		case "group", "pgid":
			ok = slices.Contains(id.user.Groups, value)
			id.group = value
		case "supgids":
			for g := range strings.SplitSeq(value, "+") {
				ok = ok && slices.Contains(id.user.Groups, g)
			}
		case "role":
			ok = value == "user" || value == "anonymous"
			id.anonymous = value == "anonymous"
		}
		if !ok {
			return fmt.Errorf("user preference %s is not available", name)
		}
	}
	return nil
}
