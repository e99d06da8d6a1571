package uftp_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestUsernamePassword(t *testing.T) {
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://auth.invalid", nil))
	c := uftp.UsernamePassword{Username: "jörg", Password: "pä:ss wörd"}
	if err := c.Authorize(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	// base64 of the UTF-8 bytes of "jörg:pä:ss wörd"
	if got, want := req.Header.Get("Authorization"), "Basic asO2cmc6cMOkOnNzIHfDtnJk"; got != want {
		t.Errorf("header is %q, want %q", got, want)
	}
	if got, want := c.String(), `password of "jörg"`; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	for _, c := range []uftp.UsernamePassword{
		{"", "MARK"}, {"a:b", "MARK"}, {"a\x00", "MARK"}, {"\xe4", "MARK"}, {"a", "MARK\xe4"},
	} {
		err := c.Authorize(t.Context(), req)
		if !errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), "MARK") {
			t.Errorf("%q: error is %v, want fs.ErrInvalid without the password", c.Username, err)
		}
	}
}

func TestBearerToken(t *testing.T) {
	if got := bearer(t, uftp.BearerToken{Token: "  abc.def\r\n"}); got != "abc.def" {
		t.Errorf("token is %q, want abc.def", got)
	}
	for _, token := range []uftp.Secret{"", " \n", "MARK\nX-Evil: 1", "MARK two", "MARK\u00e9", "MARK\x7f"} {
		if _, err := tryBearer(t, uftp.BearerToken{Token: token}); !errors.Is(err, uftp.ErrAuth) || strings.Contains(err.Error(), "MARK") {
			t.Errorf("error is %v, want ErrAuth without the token", err)
		}
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	c := uftp.TokenFile{Path: path}
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte("\n"+want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := bearer(t, c); got != want {
			t.Errorf("token is %q, want %q", got, want)
		}
	}
}

func TestTokenFileErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "missing"), "no such file"},
		{"directory", dir, "not a regular file"},
		{"pipe", pipe, "not a regular file"},
		{"empty", write("empty", " \n", 0o600), "is empty"},
		{"two words", write("two", "MARK two", 0o600), "not a token"},
		{"huge", write("huge", strings.Repeat("MARK", 1<<15), 0o600), "larger than"},
		{"forbidden", write("forbidden", "MARK", 0), "permission denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "forbidden" && os.Geteuid() == 0 {
				t.Skip("root may read everything")
			}
			_, err := tryBearer(t, uftp.TokenFile{Path: tt.path})
			if !errors.Is(err, uftp.ErrAuth) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				t.Errorf("error is %v, want ErrAuth alone: the others are about remote paths", err)
			}
			if text := err.Error(); !strings.Contains(text, tt.path) || !strings.Contains(text, tt.want) || strings.Contains(text, "MARK") {
				t.Errorf("error is %q, want the path and %q and not the token", text, tt.want)
			}
		})
	}
}

func TestTokenEnv(t *testing.T) {
	c := uftp.TokenEnv{Name: "UFTP_TEST_TOKEN_OF_CREDENTIAL_TEST"}
	if _, err := tryBearer(t, c); !errors.Is(err, uftp.ErrAuth) || !strings.Contains(err.Error(), c.Name) {
		t.Errorf("error is %v, want ErrAuth with the variable's name", err)
	}
	for _, want := range []string{"one", "two"} {
		t.Setenv(c.Name, " "+want+"\n")
		if got := bearer(t, c); got != want {
			t.Errorf("token is %q, want %q", got, want)
		}
	}
}

func TestAnonymous(t *testing.T) {
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://auth.invalid", nil))
	if err := (uftp.Anonymous{}).Authorize(t.Context(), req); err != nil || len(req.Header) != 0 {
		t.Errorf("error %v, headers %v, want none", err, req.Header)
	}
}
