package uftptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWriteAccounts(t *testing.T) {
	work := t.TempDir()
	accounts, err := writeAccounts(work, "/srv/home", []User{
		{Name: "a", UnixUser: "alpha", Groups: []string{"alpha", "shared", "daemon"}},
		{Name: "b", UnixUser: "beta", Groups: []string{"beta", "shared"}},
		{Name: "c", UnixUser: "alpha", Groups: []string{"alpha"}},
		{Name: "d", UnixUser: "root", Groups: []string{"root"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts) != 4 || accounts[0].id == accounts[1].id || accounts[0] != accounts[2] || accounts[3].id != 0 {
		t.Errorf("accounts %v", accounts)
	}
	lines := func(name string) map[string][]string {
		text, err := os.ReadFile(filepath.Join(work, name))
		if err != nil {
			t.Fatal(err)
		}
		m := map[string][]string{}
		for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			f := strings.Split(line, ":")
			m[f[0]] = f
		}
		return m
	}
	passwd, group := lines("passwd"), lines("group")
	if got := passwd["alpha"]; len(got) != 7 || got[5] != "/srv/home" || got[2] != got[3] {
		t.Errorf("alpha: %q", got)
	}
	if got := passwd["root"]; got[2] != "0" {
		t.Errorf("root: %q", got)
	}
	if got := group["shared"]; len(got) != 4 || got[3] != "alpha,beta" {
		t.Errorf("shared: %q", got)
	}
	if got := group["daemon"]; !strings.HasSuffix(got[3], "alpha") {
		t.Errorf("daemon: %q", got)
	}
	if group["alpha"][2] != passwd["alpha"][3] || group["shared"][2] == group["alpha"][2] {
		t.Errorf("group ids: %v %v", group["alpha"], group["shared"])
	}
	for _, bad := range []User{{UnixUser: "a:b"}, {UnixUser: "a", Groups: []string{"x,y"}}} {
		if _, err := writeAccounts(work, "/home", []User{bad}); err == nil {
			t.Errorf("%v accepted", bad)
		}
	}
}

func TestPosixZone(t *testing.T) {
	if _, ok := posixZone(time.Local); ok {
		t.Error("the local zone needs a variable")
	}
	for want, loc := range map[string]*time.Location{
		"UTC":             time.UTC,
		"<fixed>-5:30:00": time.FixedZone("somewhere", 5*3600+1800),
		"<fixed>+3:30:00": time.FixedZone("elsewhere", -(3*3600 + 1800)),
	} {
		if got, ok := posixZone(loc); got != want || !ok {
			t.Errorf("%s: %q, want %q", loc, got, want)
		}
	}
}

// The directories above a temporary one are opened; others are not touched.
func TestOpenPath(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := openPath(dir); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir), top, filepath.Dir(top)} {
		if fi, err := os.Stat(d); err != nil || fi.Mode()&0o001 == 0 {
			t.Errorf("%s: %v %v", d, fi.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	if err := openPath(dir); err == nil {
		t.Error("a directory outside the temporary one was opened")
	}
}
