package uftp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Credential is one way to tell the auth service who is asking. There is one
// file credential_<kind>.go for each; all are safe for concurrent use.
type Credential interface {
	// Authorize sets the Authorization header of req. It may read files or talk
	// to an identity provider, within ctx. Its errors never hold a secret; they
	// are [ErrAuth] where the credential is not there or was refused, and
	// fs.ErrInvalid where it can never work.
	Authorize(ctx context.Context, req *http.Request) error
	// String says kind and user, never a secret: for logs and messages.
	String() string
}

// sealer is a Credential that can be handed to another process.
type sealer interface {
	Credential
	// seal returns what identifies the credential, which never changes. The table
	// credentialKinds leads back.
	seal() (kind string, identity map[string][]byte)
}

// learner is a sealer that learns things in use which outlive the process.
type learner interface {
	sealLearned() map[string][]byte // nil if there is nothing
}

// forgetter is a Credential that keeps something derived from it which may go
// bad before its time.
type forgetter interface {
	// forget drops what the refused request carried if it was obtained earlier
	// than for this request, and reports whether trying again may help.
	forget(refused *http.Request) bool
}

// setBearer puts a token, cleaned of the white space that files and Secrets
// tend to add around it, into the Authorization header. where names the
// token's source in errors.
func setBearer(req *http.Request, token Secret, where string) error {
	text := strings.TrimSpace(token.Reveal())
	if text == "" {
		return fmt.Errorf("%w: %s is empty", ErrAuth, where)
	}
	// RFC 6750 allows less; what matters is that the header stays one line.
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return fmt.Errorf("%w: %s is not a token: it has a blank or a character that is not ASCII in it", ErrAuth, where)
		}
	}
	req.Header.Set("Authorization", "Bearer "+text)
	return nil
}

// printSafely implements [fmt.Formatter] by String, for types with secrets in
// them. Without a Format method there are verbs for which fmt prints fields,
// also unexported ones and those behind pointers.
func printSafely(f fmt.State, v fmt.Stringer) { _, _ = io.WriteString(f, v.String()) }

// checkUsername refuses names that no server knows and that could end up
// somewhere unquoted.
func checkUsername(name string) error {
	switch {
	case name == "":
		return invalidAuthf("the user name is empty")
	case !utf8.ValidString(name):
		return invalidAuthf("the user name is not UTF-8")
	case hasControlChar(name):
		return invalidAuthf("the user name has a control character in it")
	}
	return nil
}
