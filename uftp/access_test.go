package uftp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// sampleAccess has one Access of each kind; every secret in it contains MARK.
func sampleAccess(t testing.TB) map[string]uftp.Access {
	t.Helper()
	samples := map[string]uftp.Access{
		"nil":       {},
		"anonymous": {Credential: uftp.Anonymous{}, CABundle: []byte("pem")},
		"password":  {Credential: uftp.UsernamePassword{Username: "demo", Password: "MARK \"\\ ä\n"}},
		"bytes":     {Credential: uftp.UsernamePassword{Username: "demo", Password: "MARK\xff\x00"}},
		"token":     {Credential: uftp.BearerToken{Token: "MARK"}},
		"file":      {Credential: uftp.TokenFile{Path: "/run/secrets/token"}},
		"env":       {Credential: uftp.TokenEnv{Name: "TOKEN"}},
		"oauth": {Credential: &uftp.OAuthRefresh{
			TokenURL: "https://idp.example/token", ClientID: "id", ClientSecret: "MARK", RefreshToken: "MARK"}},
	}
	for alg, key := range testKeys(t) {
		samples[alg] = uftp.Access{Credential: must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, key), ""))}
	}
	return samples
}

func TestAccessRoundTrip(t *testing.T) {
	for name, a := range sampleAccess(t) {
		t.Run(name, func(t *testing.T) {
			data := must[[]byte](t)(uftp.MarshalAccess(a))
			b, err := uftp.UnmarshalAccess(data)
			if err != nil {
				t.Fatal(err)
			}
			if again := must[[]byte](t)(uftp.MarshalAccess(b)); !bytes.Equal(again, data) {
				t.Error("marshalled again, the access differs")
			}
			if a.String() != b.String() || !bytes.Equal(a.CABundle, b.CABundle) {
				t.Errorf("got %s, want %s", b, a)
			}
			key := []byte("key")
			if a.Fingerprint(key) != b.Fingerprint(key) {
				t.Error("the fingerprint changed")
			}
			if want, ok := a.Credential.(uftp.UsernamePassword); ok && b.Credential != want {
				t.Error("the password changed")
			}
		})
	}
}

func TestAccessFingerprint(t *testing.T) {
	key, seen := []byte("key"), map[string]string{}
	samples := sampleAccess(t)
	samples["password with CA"] = uftp.Access{Credential: samples["password"].Credential, CABundle: []byte("pem")}
	samples["other password"] = uftp.Access{Credential: uftp.UsernamePassword{Username: "demo", Password: "other"}}
	samples["other user"] = uftp.Access{Credential: uftp.UsernamePassword{Username: "o", Password: "demo"}}
	for name, a := range samples {
		print := a.Fingerprint(key)
		if len(print) != 64 || print != a.Fingerprint(key) {
			t.Errorf("%s: fingerprint %q is not stable, or not SHA-256 in hex", name, print)
		}
		if print == a.Fingerprint([]byte("other key")) {
			t.Errorf("%s: the key does not matter", name)
		}
		if other, ok := seen[print]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[print] = name
	}

	// The same key in another form is the same credential.
	signer := testKeys(t)["EdDSA"]
	one := uftp.Access{Credential: must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, signer), ""))}
	two := uftp.Access{Credential: must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, signer)+"\n", "needless"))}
	if one.Fingerprint(key) != two.Fingerprint(key) {
		t.Error("the same key gives two fingerprints")
	}
	// A pointer is as good as the value.
	p := samples["password"].Credential.(uftp.UsernamePassword)
	if (uftp.Access{Credential: &p}).Fingerprint(key) != samples["password"].Fingerprint(key) {
		t.Error("a pointer to the same credential has another fingerprint")
	}
}

// foreign is a Credential from outside the package.
type foreign struct{}

func (foreign) Authorize(context.Context, *http.Request) error { return nil }
func (foreign) String() string                                 { return "foreign" }

func TestAccessOfForeignCredential(t *testing.T) {
	a := uftp.Access{Credential: foreign{}}
	if _, err := uftp.MarshalAccess(a); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error is %v, want ErrUnsupported", err)
	}
	if one, two := a.Fingerprint(nil), a.Fingerprint(nil); one == two {
		t.Error("a foreign credential equals something")
	}
}

func TestUnmarshalAccessIsStrict(t *testing.T) {
	good := string(must[[]byte](t)(uftp.MarshalAccess(uftp.Access{
		Credential: uftp.UsernamePassword{Username: "demo", Password: "MARK"}, CABundle: []byte("MARK")})))
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	tests := map[string]string{
		"empty":          "",
		"null":           "null",
		"not JSON":       "MARK",
		"cut":            good[:len(good)-1],
		"surplus data":   good + "MARK",
		"white space":    good + "\n",
		"version 2":      replace(`"version":1`, `"version":2`),
		"no version":     replace(`"version":1,`, ``),
		"unknown kind":   replace(`"password"`, `"MARK"`),
		"other kind":     replace(`"kind":"password"`, `"kind":"token"`),
		"unknown field":  replace(`"identity"`, `"MARK":1,"identity"`),
		"surplus field":  replace(`{"password"`, `{"MARK":"TUFSSw==","password"`),
		"learned":        replace(`"caBundle"`, `"learned":{"x":"TUFSSw=="},"caBundle"`),
		"missing field":  replace(`"username"`, `"user"`),
		"doubled":        replace(`"version":1`, `"version":1,"version":1`),
		"other spelling": replace(`"version"`, `"Version"`),
		"wrong type":     replace(`"version":1`, `"version":"MARK"`),
		"not Base64":     replace(`"caBundle":"`, `"caBundle":"*MARK`),
		"damaged key":    `{"version":1,"kind":"ssh-key","identity":{"key":"TUFSSw==","username":"ZGVtbw=="}}`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := uftp.UnmarshalAccess([]byte(text))
			if err == nil {
				t.Fatalf("accepted as %s", a)
			}
			if strings.Contains(err.Error(), "MARK") {
				t.Errorf("error quotes its input: %v", err)
			}
		})
	}
	if !json.Valid([]byte(good)) {
		t.Error("the format is not JSON")
	}
}

func FuzzUnmarshalAccess(f *testing.F) {
	for _, a := range sampleAccess(f) {
		f.Add(must[[]byte](f)(uftp.MarshalAccess(a)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := uftp.UnmarshalAccess(data)
		if err != nil {
			return
		}
		if again, err := uftp.MarshalAccess(a); err != nil || !bytes.Equal(again, data) {
			t.Errorf("accepted %q, which MarshalAccess writes as %q, %v", data, again, err)
		}
	})
}
