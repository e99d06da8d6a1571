package transfer_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestDeleteLinks has links to directories and files in what is deleted: they are
// deleted, and not what they lead to.
func TestDeleteLinks(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		for name, to := range map[string]struct {
			tree transfer.Tree
			dir  string
		}{
			"remote": {transfer.Remote{Client: open(t, s)}, s.Dir()},
			"local":  {transfer.Local{}, t.TempDir()},
		} {
			t.Run(name, func(t *testing.T) {
				if local, ok := to.tree.(transfer.Local); ok {
					local.Root = to.dir
					to.tree = local
				}
				source := t.TempDir()
				localWriter(t, source)("stays", []byte("x"))
				want := files{"kept": "dir", "kept/sub": "dir", "kept/sub/precious": "", "target": "dir"}
				fill := func() {
					write := localWriter(t, to.dir)
					write("kept/sub/precious", nil)
					write("target/gone/file", nil)
					want["kept/sub/precious"] = readTree(t, to.dir)["kept/sub/precious"]
					for link, leads := range map[string]string{"target/gone/link": "../../kept", "target/top": "../kept", "target/file": "../kept/sub/precious"} {
						check(t, os.Symlink(leads, filepath.Join(to.dir, link)))
					}
					s.Chown(t)
				}

				fill()
				sum, err := transfer.Run(t.Context(), transfer.Job{
					From: transfer.Local{Root: source}, To: to.tree, Recursive: true, Delete: true,
					Pairs: []transfer.Pair{{From: ".", To: "target"}},
				})
				check(t, err)
				if sum.Deleted != 5 {
					t.Errorf("sync deleted %d items, want 5", sum.Deleted)
				}
				want["target/stays"] = readTree(t, source)["stays"]
				if diff := cmp.Diff(want, readTree(t, to.dir)); diff != "" {
					t.Errorf("after a sync: %s", diff)
				}
				delete(want, "target/stays")

				fill()
				sum, err = transfer.Remove(t.Context(), transfer.Job{
					To: to.tree, Recursive: true, Pairs: []transfer.Pair{{To: "target/top"}, {To: "target"}},
				})
				check(t, err)
				if sum.Deleted != 7 {
					t.Errorf("remove deleted %d items, want 7", sum.Deleted)
				}
				delete(want, "target")
				if diff := cmp.Diff(want, readTree(t, to.dir)); diff != "" {
					t.Errorf("after a removal: %s", diff)
				}
			})
		}
	})
}

// TestRemoveLeaves: what cannot be deleted stays, with the directories that it is in,
// of which nobody needs to hear, and the rest goes.
func TestRemoveLeaves(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	for _, name := range []string{"t/a/1", "t/a/2", "t/b/1", "t/b/2", "t/c"} {
		s.WriteFile(t, name, nil)
	}
	s.Faults().Inject(1, uftptest.Fault{Verb: "DELE", Skip: 4, Errno: syscall.EACCES}) // after t, t/a, t/b and t/c
	rec := newRecorder()
	sum, err := transfer.Remove(t.Context(), transfer.Job{
		To: transfer.Remote{Client: open(t, s)}, Recursive: true, Observer: rec,
		Pairs: []transfer.Pair{{To: "t"}, {To: "absent"}},
	})
	if !errors.Is(err, transfer.ErrIncomplete) || sum.Deleted != 5 || sum.Failed != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	if len(rec.failed) != 2 || !errors.Is(rec.failed["t/a/1"], fs.ErrPermission) || !errors.Is(rec.failed["absent"], fs.ErrNotExist) {
		t.Errorf("failed: %v", rec.failed)
	}
	left := readTree(t, s.Dir())
	if _, ok := left["t/a/1"]; !ok || len(left) != 3 {
		t.Errorf("left: %v", left)
	}
	sum, err = transfer.Remove(t.Context(), transfer.Job{
		To: transfer.Remote{Client: open(t, s)}, Recursive: true, Force: true,
		Pairs: []transfer.Pair{{To: "absent"}, {To: "t"}},
	})
	if check(t, err); sum.Deleted != 3 || sum.Failed != 0 {
		t.Errorf("the rest: %+v", sum)
	}
}

// TestRemoveTwice names things that are in one another.
func TestRemoveTwice(t *testing.T) {
	for _, pairs := range [][]string{{"t/sub", "t"}, {"t/sub/f", "t"}, {"t", "t/sub"}, {"t", "t"}} {
		s := uftptest.Start(t, uftptest.Config{})
		s.WriteFile(t, "t/sub/f", nil)
		job := transfer.Job{To: transfer.Remote{Client: open(t, s)}, Recursive: true, Force: true}
		for _, name := range pairs {
			job.Pairs = append(job.Pairs, transfer.Pair{To: name})
		}
		if sum, err := transfer.Remove(t.Context(), job); err != nil || sum.Deleted != 3 || len(readTree(t, s.Dir())) > 0 {
			t.Errorf("%q: %+v, %v", pairs, sum, err)
		}
	}
}

// oldTree tells what was there before.
type oldTree struct{ transfer.Tree }

func (oldTree) Stat(_ context.Context, name string) (uftp.Info, error) {
	return uftp.Info{Name: name, Mode: 0o644}, nil
}

// TestRemoveFile: what was a file a moment ago, and is a directory now, stays.
func TestRemoveFile(t *testing.T) {
	dir := t.TempDir()
	localWriter(t, dir)("d/precious", nil)
	sum, err := transfer.Remove(t.Context(), transfer.Job{To: oldTree{transfer.Local{Root: dir}}, Pairs: []transfer.Pair{{To: "d"}}})
	if !errors.Is(err, syscall.EISDIR) || sum.Deleted != 0 || len(readTree(t, dir)) != 2 {
		t.Errorf("%+v, %v; left: %v", sum, err, readTree(t, dir))
	}
}
