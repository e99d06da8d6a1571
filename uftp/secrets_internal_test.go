package uftp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestNoSecretIsKept prints what lies inside a client at work, where no Format
// method helps: fmt calls none on unexported fields.
func TestNoSecretIsKept(t *testing.T) {
	srv := uftptest.Start(t, uftptest.Config{})
	c, err := New(Config{
		AuthURL: srv.AuthURL(), BaseDir: srv.Dir(),
		Access: Access{
			Credential: UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   srv.CABundle(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var held *session
	err = c.do(t.Context(), operation{name: "test"}, func(s *session) error { held = s; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil { // so that nothing moves; all is still there
		t.Fatal(err)
	}
	for what, v := range map[string]any{
		"client": c, "client in a struct": struct{ V any }{c}, "client out of reach": struct{ v any }{c},
		"configuration": c.cfg, "dialer": c.dialer, "pool": c.pool,
		"session": held, "control": held.ctl, "FTP library": held.lib,
	} {
		for verb := range strings.FieldsSeq("%v %+v %#v %s %q %x %X %d %t %p") {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{uftptest.DefaultUserPassword, c.login.Password.Reveal()} {
				for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), digits(secret)} {
					if strings.Contains(text, form) {
						t.Errorf("%s of the %s shows a secret: %.500s", verb, what, text)
					}
				}
			}
		}
	}
}

// digits is how fmt prints the bytes of a string as numbers.
func digits(text string) string { return strings.Trim(fmt.Sprintf("%d", []byte(text)), "[]") }
