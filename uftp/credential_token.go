package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
)

// maxTokenFile bounds what is read of a token file; servers refuse headers
// far smaller.
const maxTokenFile = 64 << 10

// BearerToken is an OAuth or OIDC access token, or one that the auth service
// issued. White space around it is ignored.
type BearerToken struct {
	Token Secret
}

// Authorize implements [Credential].
func (c BearerToken) Authorize(_ context.Context, req *http.Request) error {
	return setBearer(req, c.Token, "the bearer token")
}

// String implements [Credential].
func (BearerToken) String() string { return "bearer token" }

// Format implements [fmt.Formatter].
func (c BearerToken) Format(f fmt.State, _ rune) { printSafely(f, c) }

func (c BearerToken) seal() (string, map[string][]byte) {
	return "token", map[string][]byte{"token": []byte(c.Token)}
}

func unsealBearerToken(f *sealedFields) (Credential, error) {
	c := BearerToken{Token: f.secret("token")}
	return c, f.check()
}

// TokenFile is a bearer token in a file that somebody else keeps fresh, as
// Kubernetes does with projected service account tokens. It is read at every
// use; white space around the token is ignored.
type TokenFile struct {
	Path string
}

// Authorize implements [Credential].
func (c TokenFile) Authorize(_ context.Context, req *http.Request) error {
	where := fmt.Sprintf("token file %q", c.Path)
	token, err := readTokenFile(c.Path)
	if err != nil {
		// The cause's kind is dropped on purpose: fs.ErrNotExist and
		// fs.ErrPermission would read as the remote path's.
		return fmt.Errorf("%w: %s: %s", ErrAuth, where, reason(err))
	}
	return setBearer(req, token, where)
}

// readTokenFile reads a regular file. A pipe would block, and could not be
// read a second time.
func readTokenFile(name string) (Secret, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	f, err := os.Open(name) //nolint:gosec // the file that the credential is about
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxTokenFile {
		return "", fmt.Errorf("larger than %d bytes", maxTokenFile)
	}
	return Secret(data), nil
}

// reason is the text of err without the operation and the path.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// String implements [Credential].
func (c TokenFile) String() string { return "token file " + strconv.Quote(c.Path) }

func (c TokenFile) seal() (string, map[string][]byte) {
	return "token-file", map[string][]byte{"path": []byte(c.Path)}
}

func unsealTokenFile(f *sealedFields) (Credential, error) {
	c := TokenFile{Path: f.text("path")}
	return c, f.check()
}

// TokenEnv is a bearer token in an environment variable, read at every use.
type TokenEnv struct {
	Name string
}

// Authorize implements [Credential].
func (c TokenEnv) Authorize(_ context.Context, req *http.Request) error {
	where := fmt.Sprintf("environment variable %q", c.Name)
	token, ok := os.LookupEnv(c.Name)
	if !ok {
		return fmt.Errorf("%w: %s is not set", ErrAuth, where)
	}
	return setBearer(req, Secret(token), where)
}

// String implements [Credential].
func (c TokenEnv) String() string { return "token in environment variable " + strconv.Quote(c.Name) }

func (c TokenEnv) seal() (string, map[string][]byte) {
	return "token-env", map[string][]byte{"name": []byte(c.Name)}
}

func unsealTokenEnv(f *sealedFields) (Credential, error) {
	c := TokenEnv{Name: f.text("name")}
	return c, f.check()
}
