package secrets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/secrets"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// testKey returns an SSH key, encrypted if there is a passphrase: in the old PEM
// way, since OpenSSH's takes seconds under the race detector, by design.
func testKey(tb testing.TB, passphrase string) string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block = encryptedKey(tb, key, passphrase)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func encryptedKey(tb testing.TB, key *ecdsa.PrivateKey, passphrase string) *pem.Block {
	tb.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES256) //nolint:staticcheck // insecure, but fast
	if err != nil {
		tb.Fatal(err)
	}
	return block
}

func testCA(tb testing.TB) string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestFromMap(t *testing.T) {
	plain, encrypted, ca := testKey(t, ""), testKey(t, "open sesame"), testCA(t)
	for _, tt := range []struct {
		name string
		in   map[string]string
		want string // Credential.String
	}{
		{"password", map[string]string{"username": "ann", "password": "pw"}, `password of "ann"`},
		{"password from files", map[string]string{"username": "ann\n", "password": " pw \r\n"}, `password of "ann"`},
		{"SSH key", map[string]string{"username": "ann", "privateKey": plain}, "ann"},
		{"SSH key without its last line end", map[string]string{"username": "ann", "privateKey": strings.TrimSpace(plain)}, "ann"},
		{"encrypted SSH key", map[string]string{"username": "ann", "privateKey": encrypted, "passphrase": "open sesame\n"}, "ann"},
		{"token", map[string]string{"token": "abc\n"}, "bearer token"},
		{"refresh token", map[string]string{"refreshToken": "abc", "tokenURL": "https://idp/token", "clientID": "me", "clientSecret": "x"}, ""},
		{"refresh token of a public client", map[string]string{"refreshToken": "abc", "tokenURL": "https://idp/token", "clientID": "me"}, ""},
		{"anonymous", map[string]string{"anonymous": "true\n"}, "anonymous"},
		{"with CA", map[string]string{"token": "abc", "ca.crt": ca}, "bearer token"},
		{"with two CAs", map[string]string{"token": "abc", "ca.crt": "comment\n" + ca + "\n" + testCA(t)}, "bearer token"},
		{"with other keys", map[string]string{"token": "abc", "comment": "x", "csi.storage.k8s.io/serviceAccount.tokens": "{}"}, "bearer token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access, err := secrets.FromMap(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := access.Credential.String(); !strings.Contains(got, tt.want) {
				t.Errorf("credential %q, want %q", got, tt.want)
			}
			if got, want := len(access.CABundle) > 0, tt.in["ca.crt"] != ""; got != want {
				t.Errorf("has a CA bundle: %v, want %v", got, want)
			}
		})
	}

	access, err := secrets.FromMap(map[string]string{"username": "ann\n", "password": " p w \r\n"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (uftp.UsernamePassword{Username: "ann", Password: " p w "}); access.Credential != want {
		t.Error("the line end of the password counts, or its blanks do not")
	}
}

func TestFromMapErrors(t *testing.T) {
	const hidden = "hunter2-in-disguise"
	key, encrypted := testKey(t, ""), testKey(t, hidden)
	for _, tt := range []struct {
		name string
		in   map[string]string
		want []string
	}{
		{"nothing", nil, []string{"username+password", "privateKey", "token", "anonymous"}},
		{"typing error", map[string]string{"username": "ann", "passwd": hidden}, []string{`"passwd"`, `"username"`}},
		{"only strangers", map[string]string{"foo": hidden, "bar": hidden}, []string{`"bar", "foo"`}},
		{"only Kubernetes' own", map[string]string{"csi.storage.k8s.io/serviceAccount.tokens": hidden}, []string{"no credential"}},
		{"no user", map[string]string{"password": hidden}, []string{`"username" is missing`}},
		{"no user for the key", map[string]string{"privateKey": key}, []string{`"username" is missing`}},
		{"empty password", map[string]string{"username": "ann", "password": "\n"}, []string{`"password" is empty`}},
		{"empty user", map[string]string{"username": "", "password": hidden}, []string{`"username" is empty`}},
		{"password and key", map[string]string{"username": "ann", "password": hidden, "privateKey": key}, []string{`"password", "privateKey"`, "exclude"}},
		{"password and token", map[string]string{"username": "ann", "password": hidden, "token": hidden}, []string{`"password", "token"`, "exclude"}},
		{"anonymous and password", map[string]string{"username": "ann", "password": hidden, "anonymous": "true"}, []string{`"password", "anonymous"`}},
		{"passphrase and password", map[string]string{"username": "ann", "password": hidden, "passphrase": hidden}, []string{`"passphrase"`, `"password"`}},
		{"user and token", map[string]string{"username": "ann", "token": hidden}, []string{`"username"`, `"token"`}},
		{"anonymous but not", map[string]string{"anonymous": "false"}, []string{`"anonymous"`}},
		{"damaged key", map[string]string{"username": "ann", "privateKey": hidden}, []string{`"privateKey"`}},
		{"wrong passphrase", map[string]string{"username": "ann", "privateKey": encrypted, "passphrase": "no" + hidden}, []string{`"privateKey"`}},
		{"no passphrase", map[string]string{"username": "ann", "privateKey": encrypted}, []string{`"privateKey"`}},
		{"colon in the user", map[string]string{"username": "a:b", "password": hidden}, []string{"colon"}},
		{"line break in the user", map[string]string{"username": "a\nb", "password": hidden}, []string{"user name"}},
		{"blank in the token", map[string]string{"token": hidden + " " + hidden}, []string{"token"}},
		{"refresh without endpoint", map[string]string{"refreshToken": hidden, "clientID": "me"}, []string{`"tokenURL" is missing`}},
		{"refresh over http", map[string]string{"refreshToken": hidden, "clientID": "me", "tokenURL": "http://" + hidden}, []string{`"tokenURL"`, "https"}},
		{"CA is no PEM", map[string]string{"token": hidden, "ca.crt": hidden}, []string{`"ca.crt"`, "PEM"}},
		{"CA is empty", map[string]string{"token": hidden, "ca.crt": ""}, []string{`"ca.crt"`}},
		{"CA is a key", map[string]string{"token": hidden, "ca.crt": key}, []string{`"ca.crt"`, "something else"}},
		{"CA is damaged", map[string]string{"token": hidden, "ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, []string{`"ca.crt"`, "damaged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := maps.Clone(tt.in)
			_, err := secrets.FromMap(tt.in)
			if !errors.Is(err, volume.ErrSecret) || !errors.Is(err, volume.ErrInvalid) {
				t.Fatalf("error is %v, want an ErrSecret", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not contain %q", err, w)
				}
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), hidden) {
				t.Errorf("%q shows a value", err)
			}
			if !maps.Equal(before, tt.in) {
				t.Error("the caller's map was changed")
			}
		})
	}
}

// FuzzFromMap: whatever is in a Secret, no value shows in an error.
func FuzzFromMap(f *testing.F) {
	f.Add("username", "password", "x")
	f.Add("privateKey", "passphrase", "-----BEGIN")
	f.Add("token", "ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")
	f.Add("refreshToken", "tokenURL", "https://x")
	f.Add("anonymous", "clientID", "true")
	f.Fuzz(func(t *testing.T, k1, k2, v string) {
		const hidden = "6f1c-never-shown"
		_, err := secrets.FromMap(map[string]string{k1: v + hidden, k2: hidden + v})
		if err == nil {
			return
		}
		if !errors.Is(err, volume.ErrSecret) {
			t.Fatalf("%v is no ErrSecret", err)
		}
		if strings.Contains(err.Error(), hidden) && !strings.Contains(k1+k2, hidden) {
			t.Fatalf("%q shows a value", err)
		}
	})
}
