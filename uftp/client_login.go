package uftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// opConnect is the Op of errors of a session's beginning.
const opConnect = "connect"

const (
	// passwordLife is how long we trust a one-time password that opened no
	// session yet; the server forgets it after 300 s.
	passwordLife = 240 * time.Second
	// minAuthTime is the least that a request to the auth service may take,
	// however short IOTimeout is: some of them ask others.
	minAuthTime = 5 * time.Second
	// refusedLife is how long a refused credential is not tried again, so that a
	// busy program with an old password does not lock its user out.
	refusedLife = 2 * time.Second
	// maxMisses is after how many failures to reach the server we ask the auth
	// service again: it may know another one. Each password occupies one of the
	// user's sessions at the server, so we do not ask lightly.
	maxMisses = 3
	// maxUnknown is how many passwords in a row a server may not know that has let us
	// in before: one that restarts forgets those that nobody has used yet.
	maxUnknown = 6
)

// openSession is the pool's way to a new session, with a data connection if that
// is of use: with the one-time password we have, or with a new one if there is
// none or it has died. The pool makes several calls at a time while it holds a
// session.
func (c *Client) openSession(ctx context.Context, data bool) (*session, error) {
	for n := 1; ; n++ {
		l, fresh, err := c.password(ctx)
		if err != nil {
			return nil, err
		}
		s, err := c.logIn(ctx, l, data)
		switch {
		case !errors.Is(err, errPassword), fresh && !c.known(), n == maxUnknown:
			return s, err
		case c.cfg.Login != nil:
			return nil, fmt.Errorf("%w, and this client has no credentials to get another", errPassword)
		}
		c.forget(l)
	}
}

// known reports whether the server has let us in with a password of the auth
// service.
func (c *Client) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logins > 0
}

// logIn opens a session. A session that ends right after login means that there
// is no base directory, or that the server went down just then: try again to
// tell them apart. What was there once may come back.
func (c *Client) logIn(ctx context.Context, l Login, data bool) (*session, error) {
	s, err := c.dialIn(ctx, l, data)
	if errors.Is(err, errNoBase) {
		var again error
		if s, again = c.dialIn(ctx, l, data); !errors.Is(again, ErrBusy) && !errors.Is(again, errPassword) {
			err = again
		}
	}
	if errors.Is(err, errNoBase) {
		if c.known() {
			// It was there, and says nothing of the file that somebody asks for.
			err = fmt.Errorf("%w: the base directory was there before, and is missing or not accessible now", ErrUnavailable)
		}
		// Whatever the operation: this is the path that is wrong.
		err = wrapError(opConnect, c.cfg.BaseDir, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.logins++
		c.misses = 0
	case errors.Is(err, ErrUnavailable):
		if c.misses++; c.misses%maxMisses == 0 && c.cfg.Login == nil && c.pool.empty() {
			c.login = nil
		}
	}
	return s, err
}

// password returns the one-time password we have, or a fresh one, which one
// caller asks for and the others wait for.
func (c *Client) password(ctx context.Context) (l Login, fresh bool, err error) {
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return Login{}, false, ctx.Err()
	}
	c.mu.Lock()
	if old := c.login; old != nil &&
		(c.cfg.Login != nil || !c.pool.empty() || c.logins > 0 || time.Since(c.loginTime) < passwordLife) {
		c.mu.Unlock()
		return *old, false, nil
	}
	if c.refused != nil && time.Since(c.loginTime) < refusedLife {
		c.mu.Unlock()
		return Login{}, false, c.refused
	}
	access, accesses := *c.access, c.accesses
	c.mu.Unlock()
	coding := c.dialer.coding
	key := coding.newKey()
	l, err = Authenticate(ctx, AuthRequest{
		AuthURL: c.cfg.AuthURL, Access: access, Insecure: c.cfg.Insecure,
		BaseDir: c.cfg.BaseDir, SharedFile: c.cfg.SharedFile, Persistent: true,
		Group: c.cfg.Group, UserPreferences: c.cfg.UserPreferences,
		Compress: coding.compress, EncryptionKey: []byte(key), EncryptionAlgorithm: coding.algorithm,
		ClientAddress: c.cfg.ClientAddress, HTTPTimeout: c.authTime(), Dial: c.cfg.Dial,
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loginTime = time.Now()
	if err != nil {
		if errors.Is(err, ErrAuth) && accesses == c.accesses {
			c.refused = err
		}
		return Login{}, false, err
	}
	l.key = key
	c.login, c.refused = &l, nil
	c.auths++
	return l, true, nil
}

// authTime bounds a request to the auth service: one that hangs must leave
// operations the time for another.
func (c *Client) authTime() time.Duration {
	return cmp.Or(c.cfg.HTTPTimeout, min(defaultHTTPTimeout, max(c.cfg.IOTimeout/2, minAuthTime)))
}

// forget drops a one-time password, unless there is another one by now.
func (c *Client) forget(l Login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.login != nil && c.login.Password == l.Password {
		c.login = nil
	}
}
