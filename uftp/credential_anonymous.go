package uftp

import (
	"context"
	"net/http"
)

// Anonymous is nobody: no Authorization header. It can read [ServerInfo]; the
// auth service gives it no one-time password.
type Anonymous struct{}

// Authorize implements [Credential]: it does nothing.
func (Anonymous) Authorize(context.Context, *http.Request) error { return nil }

// String implements [Credential].
func (Anonymous) String() string { return "anonymous" }

func (Anonymous) seal() (string, map[string][]byte) {
	return "anonymous", nil
}

func unsealAnonymous(f *sealedFields) (Credential, error) { return Anonymous{}, f.check() }
