package driver

import (
	"errors"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

func TestAllowList(t *testing.T) {
	l, err := parseAllowList([]string{"https://a.example:9000/rest/auth/ONE", "https://b.example/", "https://c.example/SITE/"})
	if err != nil {
		t.Fatal(err)
	}
	for authURL, want := range map[string]bool{
		"https://a.example:9000/rest/auth/ONE":      true,
		"https://A.example:9000/rest/auth/ONE/":     true,
		"https://a.example:9000/rest/auth/ONE/more": true,
		"https://a.example:9000/rest/auth/ONEMORE":  false,
		"https://a.example:9000/rest/auth/TWO":      false,
		"https://a.example:9001/rest/auth/ONE":      false,
		"https://a.example/rest/auth/ONE":           false,
		"https://b.example/rest/auth/X":             true,
		"https://b.example:443/rest/auth/X":         true,
		"https://b.example:444/rest/auth/X":         false,
		"https://b.example.evil.example/rest/X":     false,
		"https://b.example@evil.example/rest/X":     false,
		"https://c.example/SITE/rest/auth/X":        true,
		"https://c.example/SITE/../rest/auth/X":     false,
		"https://c.example/SITE/%2e%2e/rest/auth/X": false,
		"https://c.example/OTHER/rest/auth/X":       false,
		"http://b.example/rest/auth/X":              false,
	} {
		spec := volume.Default()
		spec.AuthURL = authURL
		if err := l.check(spec); (err == nil) != want || err != nil && !errors.Is(err, errEndpoint) {
			t.Errorf("%s: %v, want allowed %v", authURL, err, want)
		}
	}
}

func TestAllowListRefusals(t *testing.T) {
	spec := volume.Default()
	spec.AuthURL = "https://b.example/rest/auth/X"
	if err := (allowList{}).check(spec); !errors.Is(err, errInline) {
		t.Errorf("an empty list: %v", err)
	}
	l, err := parseAllowList([]string{"https://b.example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*volume.Spec){
		"secretName":         func(s *volume.Spec) { s.SecretName, s.SecretNamespace = "other", "theirs" },
		"insecureSkipVerify": func(s *volume.Spec) { s.Insecure = true },
	} {
		s := spec
		change(&s)
		if err := l.check(s); !errors.Is(err, errEndpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "a.example", "http://a.example", "https://u@a.example", "https://a.example/x/../y", "https://a.example/?q"} {
		if l, err := parseAllowList([]string{text}); err == nil {
			t.Errorf("%q is %v", text, l)
		}
	}
}
