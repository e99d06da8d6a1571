package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestPasswordDies loses all sessions and the one-time password.
func TestPasswordDies(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(1<<20, 21)
		s.WriteFile(t, "data", data)
		c := open(t, s)
		ctx := t.Context()
		ops := map[string]func() error{
			"read": func() error {
				p := make([]byte, len(data))
				_, err := c.ReadAt(ctx, "data", p, 0)
				if err == nil && !bytes.Equal(p, data) {
					err = errors.New("wrong bytes")
				}
				return err
			},
			"write": func() error { _, err := c.WriteAt(ctx, "w", data, 0); return err },
			"list":  func() error { _, err := c.List(ctx, ""); return err },
			"mkdir": func() error { return c.Mkdir(ctx, "dir") },
			"put":   func() error { _, err := c.Put(ctx, "p", bytes.NewReader(data)); return err },
			"get": func() error {
				r, _, err := c.Get(ctx, "data")
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				return err
			},
		}
		auths := int64(1)
		check(t, c.Connect(ctx))
		for name, op := range ops {
			check(t, s.ExpireSecrets())
			check(t, s.KillSessions())
			if err := op(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			auths++
		}
		if st := c.Stats(); st.Auths != auths {
			t.Errorf("%d authentications, want %d", st.Auths, auths)
		}
		// While a session lives, nothing is asked for.
		check(t, s.ExpireSecrets())
		check(t, ops["read"]())
		if st := c.Stats(); st.Auths != auths {
			t.Errorf("%d authentications, want %d", st.Auths, auths)
		}
	})
}

// TestPasswordsDieAtOnce has a server that forgets passwords before they can be used,
// as one does that restarts again and again. What never knew any is misconfigured.
func TestPasswordsDieAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		known bool
		die   int64
		auths int64
		ok    bool
	}{
		"some":       {known: true, die: 4, auths: 4, ok: true},
		"all":        {known: true, die: 100, auths: 5},
		"never knew": {die: 100, auths: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			var die atomic.Int64
			c := open(t, s, func(c *uftp.Config) {
				c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if !strings.Contains(s.AuthURL(), address) && die.Add(-1) >= 0 {
						if err := s.ExpireSecrets(); err != nil {
							t.Error(err)
						}
					}
					return new(net.Dialer).DialContext(ctx, network, address)
				}
			})
			if tt.known {
				check(t, c.Connect(t.Context()))
				check(t, s.KillSessions())
			}
			before := c.Stats().Auths
			die.Store(tt.die)
			_, err := c.Stat(t.Context(), "")
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, uftp.ErrAuth) {
				t.Error(err)
			}
			if n := c.Stats().Auths - before; n != tt.auths {
				t.Errorf("%d authentications, want %d", n, tt.auths)
			}
		})
	}
}

// TestFixedLogin has no credential to authenticate with.
func TestFixedLogin(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		l, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
			AuthURL: s.AuthURL(), BaseDir: s.Dir(), Persistent: true,
			Access: uftp.Access{
				Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
				CABundle:   s.CABundle(),
			},
		})
		check(t, err)
		c := open(t, s, func(c *uftp.Config) { *c = uftp.Config{Login: &l, IOTimeout: 5 * time.Second} })
		check(t, c.Connect(t.Context()))
		check(t, c.Mkdir(t.Context(), "d"))
		check(t, s.ExpireSecrets())
		check(t, s.KillSessions())
		_, err = c.Stat(t.Context(), "d")
		wantErr(t, err, uftp.ErrAuth)
		if !strings.Contains(err.Error(), "no credentials") {
			t.Errorf("unclear: %v", err)
		}
	})
}
