package uftp

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// UsernamePassword is a person's account at the auth service, sent as HTTP
// Basic authentication in UTF-8 (RFC 7617).
type UsernamePassword struct {
	Username string // without a colon
	Password Secret
}

// Authorize implements [Credential].
func (c UsernamePassword) Authorize(_ context.Context, req *http.Request) error {
	if err := checkUsername(c.Username); err != nil {
		return err
	}
	if strings.Contains(c.Username, ":") {
		return invalidAuthf("the user name has a colon in it, which HTTP Basic authentication cannot carry")
	}
	if !utf8.ValidString(c.Password.Reveal()) {
		return invalidAuthf("the password of %q is not UTF-8", c.Username)
	}
	req.SetBasicAuth(c.Username, c.Password.Reveal())
	return nil
}

// String implements [Credential].
func (c UsernamePassword) String() string { return "password of " + strconv.Quote(c.Username) }

// Format implements [fmt.Formatter].
func (c UsernamePassword) Format(f fmt.State, _ rune) { printSafely(f, c) }

func (c UsernamePassword) seal() (string, map[string][]byte) {
	return "password", map[string][]byte{"username": []byte(c.Username), "password": []byte(c.Password)}
}

func unsealUsernamePassword(f *sealedFields) (Credential, error) {
	c := UsernamePassword{Username: f.text("username"), Password: f.secret("password")}
	return c, f.check()
}
