package volume_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

const authURL = "https://auth.example.org:9000/rest/auth/TEST"

func TestParse(t *testing.T) {
	full := map[string]string{
		"authURL": authURL, "path": "/data//sets/./a/", "group": "hpc", "clientAddress": "10.0.0.1, ::1,host.example.org",
		"insecureSkipVerify": "true", "readOnly": "1", "uid": "1000", "gid": "4294967294", "fileMode": "0640", "dirMode": "750",
		"umask": "0o027", "attrTimeout": "500ms", "entryTimeout": "1h", "negativeTimeout": "0", "openTimeout": "10m", "cacheSize": "1Gi",
		"cacheDir": "/var/cache/uftp", "cacheDirSize": "1Ti", "blockSize": "65536", "dirtyLimit": "8Mi", "verify": "sha256", "maxSessions": "1", "rateLimit": "10Mi", "idleTimeout": "90s", "ioTimeout": "1h30m",
		"secretName": "my.secret", "secretNamespace": "team-a", "sharing": "none",
		"encryption": "aes", "compress": "true", "streams": "1",
		"csi.storage.k8s.io/pod.name": "p", "storage.kubernetes.io/csiProvisionerIdentity": "x",
	}
	want := volume.Spec{
		AuthURL: authURL, Path: "/data/sets/a", RemoteGroup: "hpc", ClientAddress: "10.0.0.1, ::1,host.example.org",
		Insecure: true, ReadOnly: true, UID: 1000, GID: 4294967294, FileMode: 0o640, DirMode: 0o750, Umask: 0o27,
		AttrTimeout: 500 * time.Millisecond, EntryTimeout: time.Hour, OpenTimeout: 10 * time.Minute, CacheSize: 1 << 30, CacheDir: "/var/cache/uftp", CacheDirSize: 1 << 40,
		BlockSize: 64 << 10, DirtyLimit: 8 << 20,
		Verify: "sha256", MaxSessions: 1, RateLimit: 10 << 20, IdleTimeout: 90 * time.Second, IOTimeout: 90 * time.Minute,
		Encryption: "aes", Compress: true, Streams: 1,
		SecretName: "my.secret", SecretNamespace: "team-a", Sharing: "none",
	}
	got, err := volume.Parse(full)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse (-want +got):\n%s", d)
	}
	for _, a := range volume.Attributes() { // every row must be in the test above
		if _, ok := full[a.Name]; !ok && a.Name != "server" {
			t.Errorf("attribute %s is not tested", a.Name)
		}
	}
}

func TestDefault(t *testing.T) {
	got, err := volume.Parse(map[string]string{"authURL": authURL})
	if err != nil {
		t.Fatal(err)
	}
	want := volume.Default()
	want.AuthURL = authURL
	if got != want {
		t.Errorf("Parse of the URL alone is not Default:\n%s", cmp.Diff(want, got))
	}
	for _, a := range volume.Attributes() {
		if got := a.Get(volume.Default()); got != a.Default {
			t.Errorf("%s: Get(Default()) = %q, the table says %q", a.Name, got, a.Default)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name       string
		attributes map[string]string
		want       []string // in the message
		not        string   // never in the message
	}{
		{"nothing", nil, []string{"authURL is missing"}, ""},
		{"http", map[string]string{"authURL": "http://h/rest/auth/T"}, []string{"authURL", "https://"}, ""},
		{"password in the URL", map[string]string{"authURL": "https://me:hunter2@h/rest/auth/T"}, []string{"authURL", "Secret"}, "hunter2"},
		{"password in a broken URL", map[string]string{"authURL": "https://me:hunter2@h:x/%zz"}, []string{"authURL"}, "hunter2"},
		{"URL with query", map[string]string{"authURL": authURL + "?token=hunter2"}, []string{"authURL", "query"}, "hunter2"},
		{"URL without path", map[string]string{"authURL": "https://h/"}, []string{"authURL", "/rest/auth/NAME"}, ""},
		{"URL without host", map[string]string{"authURL": "https:///rest/auth/T"}, []string{"authURL", "host"}, ""},
		{"URL with bad port", map[string]string{"authURL": "https://h:70000/rest/auth/T"}, []string{"authURL", "65535"}, ""},
		{"URL with line break", map[string]string{"authURL": "https://h/rest/auth/T\r\nX: y"}, []string{"authURL"}, ""},
		{"both places", map[string]string{"authURL": authURL, "server": "h:21"}, []string{"authURL", "server", "exclude"}, ""},
		{"relative cache", map[string]string{"authURL": authURL, "cacheDir": "cache"}, []string{"cacheDir", "absolute"}, ""},
		{"cache that leads elsewhere", map[string]string{"authURL": authURL, "cacheDir": "/cache/../etc"}, []string{"cacheDir", "absolute"}, ""},
		{"cache of nobody", map[string]string{"server": "h:21", "cacheDir": "/cache"}, []string{"cacheDir", "authURL"}, ""},
		{"server without port", map[string]string{"server": "h"}, []string{"server", `"h"`, "HOST:PORT"}, ""},
		{"line break in path", with("path", "a\nb"), []string{"path", `"a\nb"`, "line break"}, ""},
		{"NUL in path", with("path", "a\x00"), []string{"path", "NUL"}, ""},
		{"path not UTF-8", with("path", "a\xff"), []string{"path", `"a\xff"`, "UTF-8"}, ""},
		{"path upwards", with("path", "a/../../b"), []string{"path", `".."`}, ""},
		{"long path", with("path", strings.Repeat("a", 5000)), []string{"path", "4095"}, ""},
		{"bad bool", with("readOnly", "maybe"), []string{"readOnly", `"maybe"`, "true or false"}, ""},
		{"negative uid", with("uid", "-1"), []string{"uid", `"-1"`, "0 to 4294967294"}, ""},
		{"uid that is no user", with("uid", "4294967295"), []string{"uid"}, ""},
		{"decimal mode", with("fileMode", "0888"), []string{"fileMode", `"0888"`, "octal"}, ""},
		{"mode with set-id", with("dirMode", "4755"), []string{"dirMode", "0777"}, ""},
		{"duration without unit", with("ioTimeout", "30"), []string{"ioTimeout", `"30"`, "90s"}, ""},
		{"duration too short", with("idleTimeout", "1ms"), []string{"idleTimeout", "1s to 24h"}, ""},
		{"decimal size", with("cacheSize", "256M"), []string{"cacheSize", `"256M"`, "256Mi"}, ""},
		{"size too small", with("cacheSize", "1Ki"), []string{"cacheSize", "1Mi to 1Ti"}, ""},
		{"size overflow", with("dirtyLimit", "99999999999Gi"), []string{"dirtyLimit"}, ""},
		{"block size", with("blockSize", "5000"), []string{"blockSize", "power of two"}, ""},
		{"block larger than cache", with("blockSize", "16Mi", "cacheSize", "8Mi"), []string{"blockSize", "cacheSize"}, ""},
		{"sessions", with("maxSessions", "0"), []string{"maxSessions", "1 to 64"}, ""},
		{"choice", with("sharing", "some"), []string{"sharing", `"some"`, "auto, none"}, ""},
		{"address", with("clientAddress", "10.0.0.1,,x y"), []string{"clientAddress"}, ""},
		{"secret without namespace", with("secretName", "a"), []string{"secretName", "secretNamespace"}, ""},
		{"secret name", with("secretName", "A_b", "secretNamespace", "n"), []string{"secretName", `"A_b"`}, ""},
		{"typo", with("cachSize", "1Gi"), []string{`"cachSize"`, `"cacheSize"`}, "1Gi"},
		{"another case", with("authurl", "x"), []string{`"authurl"`, `"authURL"`}, ""},
		{"flag style", with("read-only", "true"), []string{`"read-only"`, `"readOnly"`}, ""},
		{"another driver's name", with("basePath", "/x"), []string{`"basePath"`, `"path"`}, ""},
		{"nothing near", with("zzzzzzzzzzzz", "hunter2"), []string{`"zzzzzzzzzzzz"`, "known are"}, "hunter2"},
		{"credential", with("password", "hunter2"), []string{`"password"`, "Secret"}, "hunter2"},
		{"huge name", with(strings.Repeat("a", 10_000), ""), []string{"…"}, strings.Repeat("a", 300)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := volume.Parse(tt.attributes)
			if !errors.Is(err, volume.ErrInvalid) {
				t.Fatalf("error is %v, want an ErrInvalid", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not contain %q", err, w)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("%q contains %q", err, tt.not)
			}
		})
	}
}

// with returns valid attributes plus the given names and values.
func with(pairs ...string) map[string]string {
	m := map[string]string{"authURL": authURL}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int64
	}{{"0", 0}, {"1", 1}, {"1000", 1000}, {"1Ki", 1024}, {"3Mi", 3 << 20}, {"256Mi", 256 << 20}, {"1Gi", 1 << 30}, {"7Ei", 7 << 60}} {
		if n, err := volume.ParseSize(tt.text); err != nil || n != tt.n {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tt.text, n, err, tt.n)
		}
		if got := volume.FormatSize(tt.n); got != tt.text {
			t.Errorf("FormatSize(%d) = %q, want %q", tt.n, got, tt.text)
		}
	}
	for _, bad := range []string{"", "i", "Mi", "-1", "+1", "1.5Gi", "8Ei", "1 Gi", "1gi", "1G", "0x10", "1_000", "16Ei"} {
		if n, err := volume.ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", bad, n)
		}
	}
}

func TestFlags(t *testing.T) {
	want := map[string]string{"authURL": "auth-url", "uid": "uid", "insecureSkipVerify": "insecure-skip-verify", "ioTimeout": "io-timeout"}
	seen := map[string]bool{}
	for _, a := range volume.Attributes() {
		if w, ok := want[a.Name]; ok && a.Flag() != w {
			t.Errorf("flag of %s is %q, want %q", a.Name, a.Flag(), w)
		}
		if seen[a.Flag()] {
			t.Errorf("flag %q twice", a.Flag())
		}
		seen[a.Flag()] = true
		if a.Help == "" {
			t.Errorf("%s has no help", a.Name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("authURL", authURL, "path", "/a/../b")
	f.Add("cacheSize", "256Mi", "blockSize", "1Mi")
	f.Add("uid", "-1", "umask", "0o22")
	f.Add("ioTimeout", "1h", "csi.storage.k8s.io/x", "y")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		s, err := volume.Parse(map[string]string{"authURL": authURL, k1: v1, k2: v2})
		if err != nil {
			if !errors.Is(err, volume.ErrInvalid) {
				t.Fatalf("%v is no ErrInvalid", err)
			}
			return
		}
		// What was understood can be written down and understood again.
		again := map[string]string{}
		for _, a := range volume.Attributes() {
			again[a.Name] = a.Get(s)
		}
		got, err := volume.Parse(again)
		if err != nil {
			t.Fatalf("Parse of what Get gave: %v", err)
		}
		if got != s {
			t.Fatalf("Get and Parse differ:\n%s", cmp.Diff(s, got))
		}
		if strings.ContainsAny(s.Path, "\r\n\x00") {
			t.Fatalf("path %q", s.Path)
		}
	})
}
