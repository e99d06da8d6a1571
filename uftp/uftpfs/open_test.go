package uftpfs_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestOpenURL opens the same directory in all the ways that URLs know.
func TestOpenURL(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("MY_TOKEN", "token-of-demo")
	plain, line := newKey(t, "")
	locked, line2 := newKey(t, "passphrase")
	write := func(name, text string) {
		p := filepath.Join(home, name)
		check(t, os.MkdirAll(filepath.Dir(p), 0o700))
		check(t, os.WriteFile(p, []byte(text), 0o600))
	}
	write("keys/id", plain)
	write(".uftp/id_locked", locked)
	write("token", "token-of-demo\n")

	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{{
		Name: "demo", Password: "p@ss/wörd:?", Keys: []string{line, line2}, Tokens: []string{"token-of-demo"},
	}}})
	s.WriteFile(t, "a:b c/f", []byte("content"))
	at := strings.TrimPrefix(s.AuthURL(), "https://") + ":" + s.Dir() + "/a:b%20c"
	for _, tt := range []struct{ name, url string }{
		{"password", "uftp://demo:" + url.QueryEscape("p@ss/wörd:?") + "@" + at},
		{"token", "uftp://" + at + "?token=token-of-demo"},
		{"token file", "uftp://" + at + "?token=@" + filepath.Join(home, "token")},
		{"token file at home", "uftp://" + at + "?token=@~/token"},
		{"token variable", "uftp://" + at + "?token=@@MY_TOKEN"},
		{"key, absolute", "uftp://demo:@" + at + "?identity=" + filepath.Join(home, "keys/id")},
		{"key, at home", "uftp://demo@" + at + "?identity=~/keys/id"},
		{"encrypted key in ~/.uftp", "uftp://demo:passphrase@" + at + "?identity=id_locked"},
		{"token and key", "uftp://demo:wrong@" + at + "?identity=none&token=@@MY_TOKEN"},
		{"relative to home", "uftp://" + strings.TrimPrefix(s.AuthURL(), "https://") + ":a:b%20c?token=token-of-demo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := uftpfs.OpenURL(t.Context(), tt.url, uftpfs.Options{CABundle: s.CABundle()})
			check(t, err)
			if got := ok[[]byte](t)(f.ReadFile("f")); string(got) != "content" {
				t.Errorf("%q", got)
			}
			check(t, f.Close())
			check(t, f.Close())
		})
	}
	t.Run("password from elsewhere", func(t *testing.T) {
		f := ok[*uftpfs.FS](t)(uftpfs.OpenURL(t.Context(), "uftp://demo@"+at+"?identity=id_locked&readOnly=true",
			uftpfs.Options{CABundle: s.CABundle(), Password: "passphrase"}))
		wantErr(t, f.WriteFile("g", nil, 0), fs.ErrPermission)
		check(t, f.Close())
	})
	for _, tt := range []struct {
		name, url string
		want      error
		says      string
	}{
		{"no URL", "demo", fs.ErrInvalid, "must begin with uftp://"},
		{"wrong password", "uftp://demo:hush@" + at, uftp.ErrAuth, "password of"},
		{"no password", "uftp://demo@" + at, uftp.ErrAuth, "neither password nor identity"},
		{"nobody", "uftp://" + at, uftp.ErrAuth, "anonymous"},
		{"no passphrase", "uftp://demo@" + at + "?identity=id_locked", uftp.ErrAuth, "passphrase"},
		{"wrong passphrase", "uftp://demo:hush@" + at + "?identity=id_locked", uftp.ErrAuth, "passphrase"},
		{"no key file", "uftp://demo@" + at + "?identity=absent", uftp.ErrAuth, filepath.Join(home, ".uftp", "absent")},
		{"key without user", "uftp://" + at + "?identity=id_locked", uftp.ErrAuth, "user's name"},
		{"not a key", "uftp://demo@" + at + "?identity=~/token", uftp.ErrAuth, "token"},
		{"no token file", "uftp://" + at + "?token=@/absent", uftp.ErrAuth, "/absent"},
		{"no such directory", "uftp://" + at + "/no?token=token-of-demo", fs.ErrNotExist, "base directory"},
		{"unknown attribute", "uftp://" + at + "?token=token-of-demo&readonly=true", fs.ErrInvalid, "readOnly"},
		{"attribute that is in the URL already", "uftp://" + at + "?token=token-of-demo&path=/", fs.ErrInvalid, "path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := uftpfs.OpenURL(t.Context(), tt.url, uftpfs.Options{CABundle: s.CABundle()})
			if err == nil {
				check(t, f.Close())
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want %v with %q", err, tt.want, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
	if _, err := uftpfs.OpenURL(t.Context(), "uftp://demo:x@"+at, uftpfs.Options{}); !errors.Is(err, uftp.ErrUntrusted) {
		t.Errorf("without the CA: %v", err)
	}
}

// newKey makes an Ed25519 key and its line for authorized_keys.
func newKey(t *testing.T, passphrase string) (private, line string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	authorized := ok[ssh.PublicKey](t)(ssh.NewPublicKey(public))
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	check(t, err)
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(authorized))
}
