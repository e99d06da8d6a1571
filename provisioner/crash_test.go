package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

var errCrash = errors.New("crash")

// crashing is a remote whose process dies at its n-th change: before the server
// has done it, or after, so that only the answer is lost.
type crashing struct {
	remote
	mu    sync.Mutex
	n     int
	after bool
	dead  bool
}

func (c *crashing) change(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrash
	}
	if c.n--; c.n > 0 {
		return f()
	}
	c.dead = true
	if c.after {
		_ = f()
	}
	return errCrash
}

func (c *crashing) Mkdir(ctx context.Context, p string) error {
	return c.change(func() error { return c.remote.Mkdir(ctx, p) })
}

func (c *crashing) Rmdir(ctx context.Context, p string) error {
	return c.change(func() error { return c.remote.Rmdir(ctx, p) })
}

func (c *crashing) Remove(ctx context.Context, p string) error {
	return c.change(func() error { return c.remote.Remove(ctx, p) })
}

func (c *crashing) Rename(ctx context.Context, a, b string) error {
	return c.change(func() error { return c.remote.Rename(ctx, a, b) })
}

func (c *crashing) Chmod(ctx context.Context, p string, m fs.FileMode) error {
	return c.change(func() error { return c.remote.Chmod(ctx, p, m) })
}

func (c *crashing) Create(ctx context.Context, p string) (info uftp.Info, err error) {
	err = c.change(func() error {
		info, err = c.remote.Create(ctx, p)
		return err
	})
	return info, err
}

func (c *crashing) WriteAt(ctx context.Context, p string, b []byte, off int64) (n int, err error) {
	err = c.change(func() error {
		n, err = c.remote.WriteAt(ctx, p, b, off)
		return err
	})
	return n, err
}

// crashAt replaces the provisioner with one that dies at the n-th change.
func (s *site) crashAt(n int, after bool) {
	s.restart()
	dial := s.clients.dial
	s.clients.dial = func(cfg uftp.Config) (remote, error) {
		r, err := dial(cfg)
		return &crashing{remote: r, n: n, after: after}, err
	}
}

// everyCrash runs f once for each point at which it can die, until it survives;
// check follows, with a provisioner that does not die.
func everyCrash(t *testing.T, prepare func(s *site), f func(s *site) error, check func(t *testing.T, s *site)) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			survived := false
			t.Run(fmt.Sprintf("change %d, done=%v", n, after), func(t *testing.T) {
				s := newSite(t)
				prepare(s)
				s.crashAt(n, after)
				err := f(s)
				if survived = err == nil; !survived && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				s.restart()
				check(t, s)
			})
			if survived || t.Failed() {
				if n < 3 {
					t.Errorf("only %d changes: the test tests nothing", n-1)
				}
				break
			}
		}
	}
}

func TestCreateCrashes(t *testing.T) {
	everyCrash(t, func(*site) {},
		func(s *site) error {
			_, err := s.Create(s.tb.Context(), s.claim("pvc-1", named("physics-data", 0o2770)), s.access)
			return err
		},
		func(t *testing.T, s *site) {
			made := s.create(s.claim("pvc-1", named("physics-data", 0o2770)))
			s.wantFiles("physics-data", ".csi-uftp/physics-data.json")
			s.wantMode("physics-data", 0o2770)
			if err := s.Delete(t.Context(), made.ID, s.access); err != nil {
				t.Error(err)
			}
			s.wantFiles()
		})
}

// Between the crash and the repetition somebody makes a directory of that name.
func TestCreateCrashesAndIsOvertaken(t *testing.T) {
	everyCrash(t, func(*site) {},
		func(s *site) error {
			_, err := s.Create(s.tb.Context(), s.claim("pvc-1"), s.access)
			return err
		},
		func(t *testing.T, s *site) {
			if _, err := os.Stat(filepath.Join(s.base, "pvc-1")); err == nil {
				return // ours has its place already
			}
			s.write("pvc-1/data", "somebody's")
			if _, err := s.Create(t.Context(), s.claim("pvc-1"), s.access); !errors.Is(err, volume.ErrConflict) {
				t.Errorf("Create: %v, want ErrConflict", err)
			}
			id, err := newID(s.claim("pvc-1"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), id.String(), s.access); err != nil {
				t.Error(err)
			}
			if data, err := os.ReadFile(filepath.Join(s.base, "pvc-1/data")); err != nil || string(data) != "somebody's" {
				t.Errorf("somebody's data: %q, %v", data, err)
			}
		})
}

// What is left of a Create that did not end is deleted, and that does not end
// either. Somebody has made a directory of that name meanwhile.
func TestDeleteOfUnfinishedCrashes(t *testing.T) {
	const changes = 5 // of Create, up to the marker: the next one gives D its place
	var id string
	everyCrash(t,
		func(s *site) {
			s.crashAt(changes, true)
			if _, err := s.Create(s.tb.Context(), s.claim("pvc-1"), s.access); !errors.Is(err, errCrash) {
				s.tb.Fatal(err)
			}
			s.wantFiles(".csi-uftp/pvc-1.json", ".csi-uftp/pvc-1.new")
			s.write("pvc-1/data", "somebody's")
			v, err := newID(s.claim("pvc-1"))
			if err != nil {
				s.tb.Fatal(err)
			}
			id = v.String()
		},
		func(s *site) error { return s.Delete(s.tb.Context(), id, s.access) },
		func(t *testing.T, s *site) {
			if err := s.Delete(t.Context(), id, s.access); err != nil {
				t.Error(err)
			}
			if data, err := os.ReadFile(filepath.Join(s.base, "pvc-1/data")); err != nil || string(data) != "somebody's" {
				t.Errorf("somebody's data: %q, %v", data, err)
			}
			if _, err := os.Stat(filepath.Join(s.base, ".csi-uftp/pvc-1.json")); err == nil {
				t.Error("the marker is left")
			}
		})
}

func TestDeleteCrashes(t *testing.T) {
	for _, policy := range []volume.OnDelete{volume.Delete, volume.Archive} {
		t.Run(string(policy), func(t *testing.T) {
			var id string
			everyCrash(t,
				func(s *site) {
					id = s.create(s.claim("pvc-1", onDelete(policy))).ID
					s.write("pvc-1/a/b", "data")
					s.write("pvc-1/c", "data")
				},
				func(s *site) error { return s.Delete(s.tb.Context(), id, s.access) },
				func(t *testing.T, s *site) {
					// Nobody's directory of that name may suffer from the repetition,
					// once ours has left the place.
					overtaken := false
					if _, err := os.Stat(filepath.Join(s.base, "pvc-1")); err != nil && policy == volume.Delete {
						overtaken = true
						s.write("pvc-1/new", "somebody's")
					}
					_, err := os.Stat(filepath.Join(s.base, ".csi-uftp/pvc-1.json"))
					ended := err != nil
					_, err = os.Stat(filepath.Join(s.base, ".csi-uftp-trash-pvc-1"))
					emptied := err != nil
					if err := s.Delete(t.Context(), id, s.access); err != nil {
						t.Error(err)
					}
					got := strings.Join(s.files(), " ")
					want := ".csi-uftp/pvc-1.json.archived archived-pvc-1 archived-pvc-1/a archived-pvc-1/a/b archived-pvc-1/c"
					if policy == volume.Delete {
						want = ""
						// The one moment in which ours and theirs look alike: the tree is
						// gone, and the marker is not.
						if overtaken && (ended || !emptied) {
							want = "pvc-1 pvc-1/new"
						}
					}
					if got != want {
						t.Errorf("left %q, want %q", got, want)
					}
				})
		})
	}
}
