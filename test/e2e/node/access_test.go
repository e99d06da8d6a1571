package node_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestHostileNames has names on the server that the wire mangles or cannot
// carry: they do not get into the way of the others.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	reachable := []string{
		" leading", "trailing ", "two  blanks", "-rf", "--", "~", "$(reboot)", "`id`", "a;b", "size=1; name", "*", "?", "'", `"`,
		`back\slash`, "tab\there", "Grüße", "数据", "e\u0301", "\u200e", ".hidden", "...", "%2e%2e", "\x1b[31mred", "a\x7f",
		strings.Repeat("l", 255), "dir with blank", "UNIX.mode=100777; x", "250 done", " -rw- 5 1795440597000 fake",
	}
	lost := []string{
		"new\nline", "two\r\nlines", "bare\rcr", "not utf-8 \xff\xfe", "latin1 caf\xe9",
		"x\n -rw- 10 1795440597000 phantom", "\n", "y\nsize=1;modify=20261123132957;type=file;perm=rw;UNIX.mode=100644; ghost",
	}
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		for _, name := range append(slices.Clone(reachable), lost...) {
			s.WriteFile(t, "names/"+name, []byte(name))
		}
		n := startNode(t)
		v := n.mount(t, s, "names")
		dir := filepath.Join(v.target, "names")
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains(reachable, e.Name()) {
				t.Errorf("listed and not there: %q", e.Name())
			}
		}
		for _, name := range reachable {
			if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name }) {
				t.Errorf("not listed: %q", name)
			}
			path := filepath.Join(dir, name)
			if got, err := os.ReadFile(path); err != nil || string(got) != name {
				t.Errorf("%q: %q, %v", name, got, err)
				continue
			}
			if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
				t.Errorf("writing: %v", err)
			}
			if err := os.Chmod(path, 0o600); err != nil {
				t.Errorf("chmod: %v", err)
			}
			if err := os.Rename(path, filepath.Join(v.target, "names", "renamed")); err != nil {
				t.Errorf("renaming: %v", err)
			}
			if err := os.Rename(filepath.Join(v.target, "names", "renamed"), path); err != nil {
				t.Errorf("renaming back: %v", err)
			}
			if err := os.Remove(path); err != nil {
				t.Errorf("removing: %v", err)
			}
		}
		for _, name := range lost {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%q, which cannot be named: %v", name, err)
			}
			f, err := os.Create(filepath.Join(dir, name+"!"))
			if err == nil {
				f.Close()
				t.Errorf("created %q, which cannot be named", name+"!")
			}
		}
		for i, name := range []string{"phantom", "ghost"} {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%d: a name made others up: %q, %v", i, name, err)
			}
		}
		// A program that this process starts has files open for a moment.
		waitFor(t, "the end of all that was removed", func() bool {
			left, err := os.ReadDir(filepath.Join(s.Dir(), "names"))
			return err == nil && len(left) == len(lost)
		})
	})
}

// TestReadOnly tries everything that changes something.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "file", []byte("text"))
	s.WriteFile(t, "dir/file", []byte("text"))
	n := startNode(t)
	byAttribute := n.mount(t, s, "attribute", "readOnly=true")
	byRequest := volume{id: "request", target: n.target("request")}
	byRequest.attributes, byRequest.secrets = access(s)
	req := n.publishRequest(byRequest)
	req.Readonly = true
	if _, err := n.client.NodePublishVolume(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.unpublish(t, byRequest) })
	for _, v := range []volume{byAttribute, byRequest} {
		file, dir := filepath.Join(v.target, "file"), filepath.Join(v.target, "dir")
		open := func(name string, flags int) error {
			f, err := os.OpenFile(name, flags, 0o644)
			if err == nil {
				f.Close()
			}
			return err
		}
		for what, err := range map[string]error{
			"open for writing":  open(file, os.O_WRONLY),
			"open for both":     open(file, os.O_RDWR),
			"open to truncate":  open(file, os.O_RDONLY|os.O_TRUNC),
			"create":            open(filepath.Join(dir, "new"), os.O_CREATE|os.O_WRONLY),
			"truncate":          os.Truncate(file, 1),
			"mkdir":             os.Mkdir(filepath.Join(v.target, "new"), 0o755),
			"unlink":            os.Remove(file),
			"rmdir":             syscall.Rmdir(dir),
			"rename":            os.Rename(file, file+"2"),
			"chmod":             os.Chmod(file, 0o600),
			"chown":             os.Chown(file, 1, 1),
			"utimes":            os.Chtimes(file, time.Now(), time.Now()),
			"symlink":           os.Symlink("x", filepath.Join(v.target, "link")),
			"link":              os.Link(file, file+"3"),
			"mknod":             unix.Mknod(filepath.Join(v.target, "node"), unix.S_IFREG|0o644, 0),
			"mkfifo":            unix.Mkfifo(filepath.Join(v.target, "fifo"), 0o644),
			"set an attribute":  unix.Setxattr(file, "user.x", []byte("y"), 0),
			"access for writes": unix.Access(file, unix.W_OK),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %s: %v, want EROFS", v.id, what, err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != "text" {
			t.Errorf("%s: %q, %v", v.id, got, err)
		}
	}
}

// TestOwnersAndModes looks at what is shown, and at who may do what with it.
func TestOwnersAndModes(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	for name, mode := range map[string]fs.FileMode{"open": 0o666, "plain": 0o644, "private": 0o600, "script": 0o755} {
		s.WriteFile(t, name, []byte(name))
		if err := os.Chmod(filepath.Join(s.Dir(), name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir(), "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	n := startNode(t)
	type shown struct {
		uid, gid uint32
		modes    map[string]fs.FileMode
		may      map[string]bool // what uid 1000, gid 1000 does: "read NAME", "write NAME", "create"
	}
	for _, c := range []struct {
		name       string
		attributes []string
		fsGroup    string
		want       shown
	}{
		{"defaults", nil, "", shown{0, 0,
			map[string]fs.FileMode{"plain": 0o644, "private": 0o600, "script": 0o755, "dir": 0o755},
			map[string]bool{"read plain": true, "write plain": false, "read private": false, "write open": true, "create": false}}},
		{"uid", []string{"uid=1000", "gid=2000"}, "", shown{1000, 2000,
			map[string]fs.FileMode{"plain": 0o644, "private": 0o600},
			map[string]bool{"read private": true, "write private": true, "create": true}}},
		{"modes", []string{"fileMode=0640", "dirMode=0750", "gid=1000"}, "", shown{0, 1000,
			map[string]fs.FileMode{"plain": 0o640, "private": 0o640, "script": 0o640, "dir": 0o750},
			map[string]bool{"read private": true, "write open": false, "create": false}}},
		{"umask", []string{"umask=0027"}, "", shown{0, 0,
			map[string]fs.FileMode{"open": 0o640, "plain": 0o640, "script": 0o750, "dir": 0o750},
			map[string]bool{"read plain": false, "create": false}}},
		{"fsGroup", []string{"uid=7", "gid=8"}, "1000", shown{7, 1000,
			map[string]fs.FileMode{"plain": 0o664, "private": 0o660, "script": 0o775, "dir": 0o775},
			map[string]bool{"read private": true, "write private": true, "create": true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := volume{id: c.name, target: n.target(c.name)}
			v.attributes, v.secrets = access(s)
			maps.Copy(v.attributes, attributes(t, c.attributes...))
			// The kubelet's own directories are for root. Here others go there.
			if err := os.MkdirAll(filepath.Dir(v.target), 0o755); err != nil {
				t.Fatal(err)
			}
			for dir := filepath.Dir(v.target); dir != n.dir; dir = filepath.Dir(dir) {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			req := n.publishRequest(v)
			req.GetVolumeCapability().GetMount().VolumeMountGroup = c.fsGroup
			if _, err := n.client.NodePublishVolume(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.unpublish(t, v) })
			for name, mode := range c.want.modes {
				fi := mustStat(t, filepath.Join(v.target, name))
				st, ok := fi.Sys().(*syscall.Stat_t)
				if !ok || fi.Mode().Perm() != mode || st.Uid != c.want.uid || st.Gid != c.want.gid {
					t.Errorf("%s: %v %d:%d, want %v %d:%d", name, fi.Mode().Perm(), st.Uid, st.Gid, mode, c.want.uid, c.want.gid)
				}
			}
			scripts := map[string]string{"read": `cat "$1"`, "write": `printf %s "$1" > "$1"`, "create": `: > new && rm new`}
			for what, may := range c.want.may {
				verb, name, _ := strings.Cut(what, " ")
				cmd := exec.CommandContext(t.Context(), "sh", "-c", scripts[verb], "sh", name)
				cmd.Dir = "/"
				cmd.Args[2] = `cd "$2" && ` + cmd.Args[2]
				cmd.Args = append(cmd.Args, v.target)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
				if out, err := cmd.CombinedOutput(); (err == nil) != may {
					t.Errorf("user 1000: %s: %v, want it to work: %v\n%s", what, err, may, out)
				}
			}
		})
	}
}
