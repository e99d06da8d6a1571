package transfer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

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
