package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

var _ driver.Provisioner = (*Provisioner)(nil)

// site is a server with a base directory, and a provisioner for it.
type site struct {
	tb     testing.TB
	server *uftptest.Server
	base   string // on the server, which is this machine
	access uftp.Access
	*Provisioner
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	return siteOn(tb, uftptest.Start(tb, uftptest.Config{}))
}

// eachSite runs f on the test server, and on the real one where it is.
func eachSite(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, server *uftptest.Server) { f(t, siteOn(t, server)) })
}

func siteOn(tb testing.TB, server *uftptest.Server) *site {
	tb.Helper()
	s := &site{tb: tb, server: server, base: filepath.Join(server.Dir(), "base"), access: uftp.Access{
		Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
		CABundle:   server.CABundle(),
	}}
	if err := os.Mkdir(s.base, 0o755); err != nil {
		tb.Fatal(err)
	}
	server.Chown(tb)
	s.restart()
	return s
}

// restart gives s a provisioner that knows nothing.
func (s *site) restart() {
	s.tb.Helper()
	p, err := New(Config{})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			s.tb.Errorf("close: %v", err)
		}
	})
	s.Provisioner = p
}

func (s *site) claim(name string, change ...func(*volume.Claim)) volume.Claim {
	return claim(name, append([]func(*volume.Claim){func(c *volume.Claim) {
		c.Spec.AuthURL, c.Spec.Path = s.server.AuthURL(), s.base
		c.Attributes = map[string]string{"authURL": c.Spec.AuthURL, "path": c.Spec.Path}
	}}, change...)...)
}

func onDelete(policy volume.OnDelete) func(*volume.Claim) {
	return func(c *volume.Claim) { c.OnDelete = policy }
}

// named gives a claim's directory a name and a mode.
func named(directory string, mode uint32) func(*volume.Claim) {
	return func(c *volume.Claim) { c.Directory, c.DirectoryMode = directory, mode }
}

// wantMode checks the bits of a directory as in chmod(2).
func (s *site) wantMode(directory string, want uint32) {
	s.tb.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(s.base, directory), &st); err != nil || st.Mode&0o7777 != want {
		s.tb.Errorf("mode of %s is %o (%v), want %o", directory, st.Mode&0o7777, err, want)
	}
}

func (s *site) create(c volume.Claim) volume.Provisioned {
	s.tb.Helper()
	made, err := s.Create(s.tb.Context(), c, s.access)
	if err != nil {
		s.tb.Fatal(err)
	}
	return made
}

// write makes a file, and the directories it is in, below the base.
func (s *site) write(path, data string) {
	s.tb.Helper()
	path = filepath.Join(s.base, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		s.tb.Fatal(err)
	}
	s.server.Chown(s.tb) // the real server's sessions are another Unix user's
}

// files lists what is below the base.
func (s *site) files() []string {
	s.tb.Helper()
	var got []string
	err := filepath.WalkDir(s.base, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(s.base, path); rel != "." && rel != private {
			got = append(got, rel)
		}
		return err
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	return got
}

func (s *site) wantFiles(want ...string) {
	s.tb.Helper()
	got := s.files()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		s.tb.Errorf("files below the base (-want +got):\n%s", d)
	}
}

func TestCreate(t *testing.T) { eachSite(t, testCreate) }

func testCreate(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1"))
	if made.Path != s.base+"/pvc-1" || made.Size != 1<<30 || len(made.ID) > maxID {
		t.Errorf("made %+v", made)
	}
	s.wantFiles("pvc-1", ".csi-uftp/pvc-1.json")
	s.write("pvc-1/data", "precious")

	again := s.create(s.claim("pvc-1"))
	if again != made {
		t.Errorf("again %+v, want %+v", again, made)
	}
	s.restart()
	if again := s.create(s.claim("pvc-1")); again != made {
		t.Errorf("after a restart %+v, want %+v", again, made)
	}
	s.wantFiles("pvc-1", "pvc-1/data", ".csi-uftp/pvc-1.json")

	found, err := s.Lookup(t.Context(), made.ID, s.access)
	if err != nil || found != made {
		t.Errorf("Lookup = %+v, %v", found, err)
	}
	spec, err := s.Locate(made.ID)
	if err != nil || spec.AuthURL != s.server.AuthURL() || spec.Path != s.base {
		t.Errorf("Locate = %+v, %v", spec, err)
	}
	marker, err := os.ReadFile(filepath.Join(s.base, ".csi-uftp/pvc-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"version": 1`, `"name": "pvc-1"`, `"directory": "pvc-1"`, `"size": 1073741824`, `"onDelete": "delete"`, made.ID} {
		if !strings.Contains(string(marker), word) {
			t.Errorf("the marker has no %s:\n%s", word, marker)
		}
	}
	if strings.Contains(string(marker), uftptest.DefaultUserPassword) {
		t.Errorf("the marker holds the password:\n%s", marker)
	}
}

func TestCreateInTheHome(t *testing.T) {
	s := newSite(t)
	made := s.create(s.claim("pvc-1", func(c *volume.Claim) { c.Spec.Path = "" }))
	if made.Path != "pvc-1" {
		t.Errorf("path %q", made.Path)
	}
	if _, err := os.Stat(filepath.Join(s.server.Dir(), "pvc-1")); err != nil {
		t.Error(err)
	}
}

// A class may name the directories itself, and say their mode.
func TestCreateNamed(t *testing.T) { eachSite(t, testCreateNamed) }

func testCreateNamed(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1", named("physics-my data", 0o3770), onDelete(volume.Delete)))
	directory := filepath.Base(made.Path)
	if !strings.HasPrefix(directory, "physics-my-data-") { // and a hash, because of the blank
		t.Errorf("the directory is %q", directory)
	}
	s.wantMode(directory, 0o3770)
	if again := s.create(s.claim("pvc-1", named("physics-my data", 0o3770), onDelete(volume.Delete))); again != made {
		t.Errorf("a repeated call gave %+v, the first %+v", again, made)
	}
	if _, err := s.Create(t.Context(), s.claim("pvc-2", named("physics-my data", 0o3770)), s.access); !errors.Is(err, volume.ErrConflict) {
		t.Errorf("another claim got the same directory: %v", err)
	}
	if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
		t.Error(err)
	}
	s.wantFiles()

	kept := s.create(s.claim("pvc-3", named("kept", 0), onDelete(volume.Retain)))
	if err := s.Delete(t.Context(), kept.ID, s.access); err != nil {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), s.claim("pvc-4", named("kept", 0)), s.access); !errors.Is(err, volume.ErrConflict) || !strings.Contains(err.Error(), "retained") {
		t.Errorf("a retained directory for another claim: %v", err)
	}
}

func TestCreateConflicts(t *testing.T) { eachSite(t, testCreateConflicts) }

func testCreateConflicts(t *testing.T, s *site) {
	s.create(s.claim("pvc-1"))
	s.write("taken/data", "somebody's")
	for _, tt := range []struct {
		name  string
		claim volume.Claim
		want  string
	}{
		{"larger", s.claim("pvc-1", func(c *volume.Claim) { c.MinSize *= 2 }), "1Gi"},
		{"smaller at most", s.claim("pvc-1", func(c *volume.Claim) { c.MinSize, c.MaxSize = 1, 1000 }), "1Gi"},
		{"another policy", s.claim("pvc-1", onDelete(volume.Retain)), "other parameters"},
		{"another attribute", s.claim("pvc-1", func(c *volume.Claim) { c.Attributes["uid"] = "7" }), "other parameters"},
		{"a directory in the way", s.claim("taken"), "did not make it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Create(t.Context(), tt.claim, s.access)
			if !errors.Is(err, volume.ErrConflict) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want an ErrConflict with %q", err, tt.want)
			}
		})
	}
	s.wantFiles("pvc-1", ".csi-uftp/pvc-1.json", "taken", "taken/data")

	t.Run("smaller is compatible", func(t *testing.T) {
		if made := s.create(s.claim("pvc-1", func(c *volume.Claim) { c.MinSize = 1 })); made.Size != 1<<30 {
			t.Errorf("size %d", made.Size)
		}
	})
	t.Run("base is missing", func(t *testing.T) {
		_, err := s.Create(t.Context(), s.claim("pvc-2", func(c *volume.Claim) { c.Spec.Path += "/nope" }), s.access)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error is %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("damaged marker", func(t *testing.T) {
		s.write(".csi-uftp/pvc-3.json", `{"version": 99}`)
		if _, err := s.Create(t.Context(), s.claim("pvc-3"), s.access); !errors.Is(err, volume.ErrConflict) {
			t.Errorf("error is %v, want ErrConflict", err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		bad := s.access
		bad.Credential = uftp.UsernamePassword{Username: "demo", Password: "no"}
		if _, err := s.Create(t.Context(), s.claim("pvc-1"), bad); !errors.Is(err, uftp.ErrAuth) {
			t.Errorf("error is %v, want ErrAuth", err)
		}
	})
}

func TestCreateAtOnce(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			made, err := s.Create(t.Context(), s.claim("pvc-1"), s.access)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			ids[made.ID] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
	s.wantFiles("pvc-1", ".csi-uftp/pvc-1.json")
}

func TestDelete(t *testing.T) {
	for _, tt := range []struct {
		policy volume.OnDelete
		want   []string
	}{
		{volume.Delete, nil},
		{volume.Retain, []string{"pvc-1", "pvc-1/a", "pvc-1/a/b", ".csi-uftp/pvc-1.json.retained"}},
		{volume.Archive, []string{"archived-pvc-1-2", "archived-pvc-1-2/a", "archived-pvc-1-2/a/b", ".csi-uftp/pvc-1.json.archived"}},
	} {
		t.Run(string(tt.policy), func(t *testing.T) {
			s := newSite(t)
			s.write("archived-pvc-1/old", "an earlier archive")
			made := s.create(s.claim("pvc-1", onDelete(tt.policy)))
			s.write("pvc-1/a/b", "data")
			for range 3 { // after the first there is nothing to do
				if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
					t.Fatal(err)
				}
			}
			s.wantFiles(append(tt.want, "archived-pvc-1", "archived-pvc-1/old")...)
			if _, err := s.Lookup(t.Context(), made.ID, s.access); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup after Delete: %v", err)
			}
			if _, err := s.Resize(t.Context(), made.ID, 1, s.access); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Resize after Delete: %v", err)
			}
		})
	}
}

func TestDeleteLeavesOthersAlone(t *testing.T) { eachSite(t, testDeleteLeavesOthersAlone) }

func testDeleteLeavesOthersAlone(t *testing.T, s *site) {
	s.write("theirs/data", "precious")
	id, err := newID(s.claim("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{id.String(), "fake-vol-id", ""} {
		if err := s.Delete(t.Context(), id, s.access); err != nil {
			t.Errorf("Delete(%q): %v", id, err)
		}
	}
	// Made with another policy: another volume.
	kept := s.create(s.claim("pvc-1", onDelete(volume.Retain)))
	if err := s.Delete(t.Context(), strings.Replace(kept.ID, "#r#", "#d#", 1), s.access); err != nil {
		t.Error(err)
	}
	s.wantFiles("theirs", "theirs/data", "pvc-1", ".csi-uftp/pvc-1.json")
	if err := s.Delete(t.Context(), "u2#of-the-future", s.access); err == nil {
		t.Error("the id of another version was deleted")
	}
}

// What a user does in a volume must not make its deletion reach out of it.
func TestDeleteFollowsNoLinks(t *testing.T) { eachSite(t, testDeleteFollowsNoLinks) }

func testDeleteFollowsNoLinks(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1"))
	s.write("outside/dir/data", "precious")
	for name, target := range map[string]string{"toDir": "../outside/dir", "toFile": "../outside/dir/data", "up": "..", "self": ".", "absolute": s.base} {
		if err := os.Symlink(target, filepath.Join(s.base, "pvc-1", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
		t.Fatal(err)
	}
	s.wantFiles("outside", "outside/dir", "outside/dir/data")

	t.Run("not even in place of the volume", func(t *testing.T) {
		made := s.create(s.claim("pvc-2"))
		if err := os.Remove(filepath.Join(s.base, "pvc-2")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("outside", filepath.Join(s.base, "pvc-2")); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
			t.Fatal(err)
		}
		s.wantFiles("outside", "outside/dir", "outside/dir/data")
	})
}

func TestDeleteTree(t *testing.T) { eachSite(t, testDeleteTree) }

func testDeleteTree(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1"))
	for i := range 40 {
		s.write(fmt.Sprintf("pvc-1/dir %d/sub/file-%d", i%7, i), "x")
	}
	for _, name := range []string{" leading", "trailing ", "-dash", "ünïcode", "semi;colon=1", `quo"te`} {
		s.write("pvc-1/odd/"+name, "x")
	}
	for _, dir := range []string{"pvc-1/dir 1/sub", "pvc-1/dir 1", "pvc-1/dir 2/sub"} { // as Go's module cache is
		if err := os.Chmod(filepath.Join(s.base, dir), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
		t.Fatal(err)
	}
	s.wantFiles()
}

// What the server does not list cannot be removed through it; the volume is not
// reported as deleted, and the message says why.
func TestDeleteWithHiddenEntries(t *testing.T) { eachSite(t, testDeleteWithHiddenEntries) }

func testDeleteWithHiddenEntries(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1"))
	link := filepath.Join(s.base, "pvc-1", "dangling")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	s.write("pvc-1/data", "x")
	err := s.Delete(t.Context(), made.ID, s.access)
	if !errors.Is(err, syscall.ENOTEMPTY) || !strings.Contains(err.Error(), "does not list") {
		t.Fatalf("error is %v, want ENOTEMPTY", err)
	}
	s.wantFiles(".csi-uftp/pvc-1.json", ".csi-uftp-trash-pvc-1", ".csi-uftp-trash-pvc-1/dangling")
	if err := os.Remove(filepath.Join(s.base, ".csi-uftp-trash-pvc-1/dangling")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
		t.Fatal(err)
	}
	s.wantFiles()
}

func TestResize(t *testing.T) { eachSite(t, testResize) }

func testResize(t *testing.T, s *site) {
	made := s.create(s.claim("pvc-1"))
	for _, tt := range []struct{ size, want int64 }{{2 << 30, 2 << 30}, {1, 2 << 30}} {
		got, err := s.Resize(t.Context(), made.ID, tt.size, s.access)
		if err != nil || got != tt.want {
			t.Errorf("Resize(%d) = %d, %v; want %d", tt.size, got, err, tt.want)
		}
	}
	// A late repetition of CreateVolume is content with more.
	if again := s.create(s.claim("pvc-1")); again.Size != 2<<30 {
		t.Errorf("size %d", again.Size)
	}
	s.wantFiles("pvc-1", ".csi-uftp/pvc-1.json")
}

// One person's operations share sessions: the server limits them.
func TestSessionsAreShared(t *testing.T) {
	s := newSite(t)
	for i := range 20 {
		s.create(s.claim(fmt.Sprintf("pvc-%d", i)))
	}
	s.clients.mu.Lock()
	n := len(s.clients.open)
	s.clients.evict(0)
	left := len(s.clients.open)
	s.clients.mu.Unlock()
	if n != 1 || left != 0 {
		t.Errorf("%d clients for one identity, and %d when it is idle", n, left)
	}
	s.create(s.claim("pvc-after"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), s.claim("x"), s.access); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestLockHeedsContext(t *testing.T) {
	s := newSite(t)
	unlock, err := s.lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.lock(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("lock: %v", err)
	}
	unlock()
	unlock, err = s.lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
