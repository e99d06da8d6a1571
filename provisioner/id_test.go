package provisioner

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

const authURL = "https://auth.example.org:9000/rest/auth/TEST"

func claim(name string, change ...func(*volume.Claim)) volume.Claim {
	c := volume.Claim{Name: name, MinSize: 1 << 30, Class: volume.Class{Spec: volume.Default(), OnDelete: volume.Delete}}
	c.Spec.AuthURL, c.Spec.Path = authURL, "/data/volumes"
	c.Attributes = map[string]string{"authURL": authURL, "path": "/data/volumes"}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestID(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*volume.Claim)
		want   string
	}{
		{"plain", func(*volume.Claim) {}, "u1#d#auth.example.org:9000/rest/auth/TEST#/data/volumes#pvc-1"},
		{"retain", func(c *volume.Claim) { c.OnDelete = volume.Retain }, "u1#r#auth.example.org:9000/rest/auth/TEST#/data/volumes#pvc-1"},
		{"archive, in the home", func(c *volume.Claim) { c.OnDelete, c.Spec.Path = volume.Archive, "" }, "u1#a#auth.example.org:9000/rest/auth/TEST##pvc-1"},
		{"characters", func(c *volume.Claim) { c.Spec.Path = "a#b c%d,é" }, "u1#d#auth.example.org:9000/rest/auth/TEST#a%23b%20c%25d,%C3%A9#pvc-1"},
		{"options", func(c *volume.Claim) {
			c.Spec.Insecure, c.Spec.RemoteGroup, c.Spec.ClientAddress = true, "a,b", "10.0.0.1,::1"
		}, "u1#d,i,g=a%2Cb,c=10.0.0.1%2C::1#auth.example.org:9000/rest/auth/TEST#/data/volumes#pvc-1"},
		{"Secret", func(c *volume.Claim) { c.Spec.SecretName, c.Spec.SecretNamespace = "s.x", "n" },
			"u1#d,s=s.x,n=n#auth.example.org:9000/rest/auth/TEST#/data/volumes#pvc-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := claim("pvc-1", tt.change)
			id, err := newID(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := id.String(); got != tt.want {
				t.Errorf("id %q, want %q", got, tt.want)
			}
			got, err := parseID(id.String())
			if err != nil {
				t.Fatal(err)
			}
			if got.spec != c.Spec || got.onDelete != c.OnDelete || got.directory != "pvc-1" {
				t.Errorf("parsed %+v", got)
			}
		})
	}
}

// A URL's scheme may be written in capitals, and still leads to its host.
func TestIDOfCapitalScheme(t *testing.T) {
	id, err := newID(claim("pvc-1", func(c *volume.Claim) { c.Spec.AuthURL = "HTTPS" + strings.TrimPrefix(authURL, "https") }))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseID(id.String())
	if err != nil || got.spec.AuthURL != authURL {
		t.Errorf("id %s leads to %q (%v), want %q", id, got.spec.AuthURL, err, authURL)
	}
}

func TestIDTooLong(t *testing.T) {
	_, err := newID(claim("pvc-6f1c2a34-0000-0000-0000-000000000000", func(c *volume.Claim) { c.Spec.Path = "/" + strings.Repeat("d", 60) }))
	if !errors.Is(err, volume.ErrInvalid) {
		t.Fatalf("error is %v, want an ErrInvalid", err)
	}
	for _, w := range []string{"128", "path (61 bytes)", "authURL (44 bytes)", "by 16"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not contain %q", err, w)
		}
	}
}

func TestForeignIDs(t *testing.T) {
	const auth = "auth.example.org/rest/auth/T"
	for _, id := range []string{
		"", "x", "fake-vol-id", "u1", "u1#", "u1####", "u1#d#" + auth + "#b", "u1#d#" + auth + "#b#d#e",
		"u1#x#" + auth + "#b#d", "u1##" + auth + "#b#d", "u1#d#" + auth + "#b#", "u1#d#" + auth + "#b#.csi-uftp", "u1#d#" + auth + "#b#a/b",
		"u1#d#" + auth + "#b#..", "u1#d#" + auth + "#../b#d", "u1#d#" + auth + "#b/#d", "u1#d#" + auth + "#%62#d", "u1#d#" + auth + "#b%#d", "u1#d#" + auth + "#b%zz#d",
		"u1#d#user:pw@" + auth + "#b#d", "u1#d##b#d", "u1#d,x#" + auth + "#b#d", "u1#d,i=true#" + auth + "#b#d", "u1#d,#" + auth + "#b#d", "u1#d,s=x#" + auth + "#b#d",
		"u1#d#" + auth + "#" + strings.Repeat("b", 200) + "#d", "U1#d#" + auth + "#b#d",
	} {
		if v, err := parseID(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("parseID(%q) = %+v, %v; want fs.ErrNotExist", id, v, err)
		}
	}
	// An id of a version to come must not be taken for deleted.
	if _, err := parseID("u2#whatever"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another version's id: %v", err)
	}
}

func TestDirectoryName(t *testing.T) {
	const pvc = "pvc-6f1c2a34-1111-2222-3333-444455556666"
	if got := directoryName(pvc); got != pvc {
		t.Errorf("directoryName(%q) = %q", pvc, got)
	}
	seen := map[string]string{}
	for _, name := range []string{
		"a", pvc, strings.Repeat("a", 48), strings.Repeat("a", 49), strings.Repeat("a", 128), strings.Repeat("a", 127) + "b",
		"a/b", "a-b", "..", ".", ".csi-uftp", "a b", "é", "a\nb", "#", "-x", "_", "a\xff", "a\xfe",
	} {
		got := directoryName(name)
		if len(got) > maxDirectory || strings.ContainsAny(got, "/ #\n") || strings.HasPrefix(got, ".") || got == "" {
			t.Errorf("directoryName(%q) = %q", name, got)
		}
		if directoryName(got) != got {
			t.Errorf("directoryName(%q) = %q is no fixpoint", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", name, other, got)
		}
		seen[got] = name
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("u1#d#auth.example.org:9000/rest/auth/TEST#/data/volumes#pvc-1")
	f.Add("u1#d,i,g=a%2Cb#auth.example.org/rest/auth/TEST#a%23b#pvc-1")
	f.Add("u2#x")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Fatalf("%q is written %q", s, id.String())
		}
		if err := id.spec.Validate(); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(id.directory, "/\x00\r\n") || strings.HasPrefix(id.directory, ".") || id.directory == "" {
			t.Fatalf("directory %q", id.directory)
		}
	})
}
