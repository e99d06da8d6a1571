package uftpfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

const local = "https://localhost:9000/rest/auth/TEST"

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		want      uftpfs.URL
	}{
		{"user and password", "uftp://demouser:test123@localhost:9000/rest/auth/TEST:/data",
			uftpfs.URL{AuthURL: local, Path: "/data", User: "demouser", Password: "test123"}},
		{"token", "uftp://localhost:9000/rest/auth/TEST:/data?token=abc",
			uftpfs.URL{AuthURL: local, Path: "/data", Token: "abc"}},
		{"token with a plus sign", "uftp://localhost:9000/rest/auth/TEST:/data?token=a+b/c==",
			uftpfs.URL{AuthURL: local, Path: "/data", Token: "a+b/c=="}},
		{"token file", "uftp://localhost:9000/rest/auth/TEST:/data?token=@/run/token",
			uftpfs.URL{AuthURL: local, Path: "/data", TokenFile: "/run/token"}},
		{"token variable", "uftp://localhost:9000/rest/auth/TEST:/data?token=@@TOKEN",
			uftpfs.URL{AuthURL: local, Path: "/data", TokenEnv: "TOKEN"}},
		{"key without passphrase", "uftp://demouser:@localhost:9000/rest/auth/TEST:/data?identity=~/.uftp/id",
			uftpfs.URL{AuthURL: local, Path: "/data", User: "demouser", Identity: "~/.uftp/id"}},
		{"user without colon", "uftp://demouser@localhost:9000/rest/auth/TEST:/data?identity=id",
			uftpfs.URL{AuthURL: local, Path: "/data", User: "demouser", Identity: "id"}},
		{"both token and identity", "uftp://u:pass@localhost:9000/rest/auth/TEST:?identity=id&token=@@T",
			uftpfs.URL{AuthURL: local, User: "u", Password: "pass", Identity: "id", TokenEnv: "T"}},
		{"behind a gateway", "uftp://u:p@gw.example.org/SITE/rest/auth/TEST:/data",
			uftpfs.URL{AuthURL: "https://gw.example.org/SITE/rest/auth/TEST", Path: "/data", User: "u", Password: "p"}},
		{"percent-encoding", "uftp://u:p%40ss@h:1/rest/auth/TEST:/x%20y%3Fz%23",
			uftpfs.URL{AuthURL: "https://h:1/rest/auth/TEST", Path: "/x y?z#", User: "u", Password: "p@ss"}},
		{"unescaped @ and : in the password", "uftp://u:p@s:s@h:1/rest/auth/TEST:/x",
			uftpfs.URL{AuthURL: "https://h:1/rest/auth/TEST", Path: "/x", User: "u", Password: "p@s:s"}},
		{"relative path", "uftp://localhost:9000/rest/auth/TEST:rel/dir", uftpfs.URL{AuthURL: local, Path: "rel/dir"}},
		{"home", "uftp://localhost:9000/rest/auth/TEST:", uftpfs.URL{AuthURL: local}},
		{"colons in the path stay", "uftp://localhost:9000/rest/auth/TEST:/a:b/c:", uftpfs.URL{AuthURL: local, Path: "/a:b/c:"}},
		{"/rest/ in the path stays", "uftp://localhost:9000/rest/auth/TEST:/rest/x", uftpfs.URL{AuthURL: local, Path: "/rest/x"}},
		{"! in the path stays", "uftp://localhost:9000/rest/auth/TEST:/data!sub", uftpfs.URL{AuthURL: local, Path: "/data!sub"}},
		{"# in the path stays", "uftp://localhost:9000/rest/auth/TEST:/a#b", uftpfs.URL{AuthURL: local, Path: "/a#b"}},
		{"UTF-8", "uftp://localhost:9000/rest/auth/TEST:/d%C3%A4t/ü", uftpfs.URL{AuthURL: local, Path: "/dät/ü"}},
		{"slash after the name", "uftp://localhost:9000/rest/auth/TEST/:/data", uftpfs.URL{AuthURL: local, Path: "/data"}},
		{"a share", "uftp://localhost:9000/rest/access/TEST:/data",
			uftpfs.URL{AuthURL: "https://localhost:9000/rest/access/TEST", Path: "/data"}},
		{"IPv6", "uftp://[::1]:9000/rest/auth/TEST:/data", uftpfs.URL{AuthURL: "https://[::1]:9000/rest/auth/TEST", Path: "/data"}},
		{"IPv6 without port", "uftp://[::1]/rest/auth/TEST:/data", uftpfs.URL{AuthURL: "https://[::1]/rest/auth/TEST", Path: "/data"}},
		{"https form", "https://localhost:9000/rest/auth/TEST:/home/demo/file.dat",
			uftpfs.URL{AuthURL: local, Path: "/home/demo/file.dat"}},
		{"scheme in capitals", "UFTP://localhost:9000/rest/auth/TEST:/data", uftpfs.URL{AuthURL: local, Path: "/data"}},
		{"attributes", "uftp://localhost:9000/rest/auth/TEST:/data?readOnly=true&&umask=022&path=%2Fx%26y",
			uftpfs.URL{AuthURL: local, Path: "/data", Attributes: map[string]string{"readOnly": "true", "umask": "022", "path": "/x&y"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := uftpfs.ParseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseURL(%q): -want +got\n%s", tt.url, diff)
			}
		})
	}
}

func TestParseURLErrors(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"empty", "", "must begin with uftp://"},
		{"other scheme", "ftp://h/rest/auth/TEST:/hush", "must begin with uftp://"},
		{"no path at all", "uftp://u:hush@h:9000", "no /rest/auth/NAME"},
		{"no colon", "uftp://u:hush@localhost:9000/rest/auth/TEST", "no colon"},
		{"no colon, with query", "uftp://localhost:9000/rest/auth/TEST?token=hush:", "no colon"},
		{"no /rest/", "uftp://u:hush@h/foo:/data", "must end in /rest/auth/NAME"},
		{"no server name", "uftp://u:hush@h/rest/auth/:/data", "must end in /rest/auth/NAME"},
		{"no host", "uftp://u:hush@/rest/auth/TEST:/data", "no host"},
		{"port is no number", "uftp://u:hush@h:http/rest/auth/TEST:/data", "%2F"},
		{"port too large", "uftp://u:hush@h:99999/rest/auth/TEST:/data", "port must be"},
		{"port missing", "uftp://u:hush@h:/rest/auth/TEST:/data", "port must be"},
		{"slash in the password", "uftp://u:hu/sh@h:9000/rest/auth/TEST:/data", "%2F"},
		{"fragment before the path", "uftp://u:hush@h:9000/rest#/auth/TEST:/data", "%23"},
		{"bad escape in the password", "uftp://u:hush%zz@h/rest/auth/TEST:/data", "the password has a %"},
		{"bad escape in the path", "uftp://u:hush@h/rest/auth/TEST:/100%", "the path has a %"},
		{"line break in the path", "uftp://u:hush@h/rest/auth/TEST:/a%0D%0ADELE%20b", "line break"},
		{"not UTF-8", "uftp://u:hush@h/rest/auth/TEST:/a%FF", "UTF-8"},
		{"key without value", "uftp://u:hush@h/rest/auth/TEST:/a?readOnly", "key=value"},
		{"token given twice", "uftp://h/rest/auth/TEST:/a?token=hush&token=hush2", `"token" is given twice`},
		{"empty token", "uftp://h/rest/auth/TEST:/a?token=", "token is empty"},
		{"token file without a name", "uftp://h/rest/auth/TEST:/a?token=@", "token is empty"},
		{"empty identity", "uftp://h/rest/auth/TEST:/a?identity=", "identity is empty"},
		{"bad escape in a token", "uftp://h/rest/auth/TEST:/a?token=hush%", `the value of "token" has a %`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := uftpfs.ParseURL(tt.url)
			switch {
			case err == nil:
				t.Fatalf("ParseURL(%q): no error", tt.url)
			case !errors.Is(err, fs.ErrInvalid):
				t.Errorf("error %v is not fs.ErrInvalid", err)
			case !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q does not say %q", err, tt.want)
			case strings.Contains(err.Error(), "hush"), strings.Contains(err.Error(), "hu/sh"):
				t.Errorf("error %q holds the password", err)
			}
		})
	}
}

func TestURLHidesSecrets(t *testing.T) {
	u, err := uftpfs.ParseURL("uftp://me:hush%20hush@h:9000/rest/auth/TEST:/a b/ü?token=whisper&identity=id&readOnly=true")
	if err != nil {
		t.Fatal(err)
	}
	const want = "uftp://me:[redacted]@h:9000/rest/auth/TEST:/a%20b/%C3%BC?identity=id&token=[redacted]&readOnly=true"
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, u); got != want {
			t.Errorf("%s: got %s, want %s", format, got, want)
		}
	}
	if !u.HasSecret() {
		t.Error("HasSecret is false")
	}
	if u, err := uftpfs.ParseURL("uftp://me@h/rest/auth/TEST:?token=@@T"); err != nil || u.HasSecret() {
		t.Errorf("a reference to a token counts as a secret (error %v)", err)
	}
}

// FuzzParseURL checks that what was parsed prints as a URL of the same meaning,
// secrets apart, whatever the input.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"uftp://demouser:test123@localhost:9000/rest/auth/TEST:/data",
		"uftp://u:p%40ss@[::1]:1/SITE/rest/auth/TEST:/x%20y:z?token=@@T&identity=~/.uftp/id&readOnly=true",
		"https://h/rest/access/TEST-2:rel?token=@/f&umask=022", "uftp://h/foo:/data", "uftp://@:/rest/auth/%:%",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := uftpfs.ParseURL(s)
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("error %v is not fs.ErrInvalid", err)
			}
			return
		}
		again, err := uftpfs.ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which does not parse: %v", s, u, err)
		}
		if u.Password != "" {
			u.Password = "[redacted]"
		}
		if u.Token != "" {
			u.Token = "[redacted]"
		}
		if diff := cmp.Diff(u, again); diff != "" {
			t.Fatalf("%q prints as %q, which means something else: -first +second\n%s", s, u, diff)
		}
	})
}
