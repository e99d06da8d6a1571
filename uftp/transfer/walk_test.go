package transfer_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestWalk(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	for i := range 30 {
		s.WriteFile(t, fmt.Sprintf("d/%02d/sub/f", i), nil)
		s.WriteFile(t, fmt.Sprintf("d/%02d.txt", i), nil)
	}
	s.WriteFile(t, "d/.uftp-part-x", nil)
	for name, tree := range map[string]transfer.Tree{
		"remote": transfer.Remote{Client: open(t, s)}, "local": transfer.Local{Root: s.Dir()},
	} {
		t.Run(name, func(t *testing.T) {
			var got, want []string
			check(t, transfer.Walk(t.Context(), tree, "d", func(name string, info uftp.Info, err error) error {
				check(t, err)
				got = append(got, name)
				if name == "d/07" {
					return fs.SkipDir
				}
				return nil
			}))
			check(t, filepath.WalkDir(filepath.Join(s.Dir(), "d"), func(p string, d fs.DirEntry, err error) error {
				name, _ := filepath.Rel(s.Dir(), p)
				if name == "d" || strings.Contains(name, "part") {
					return err
				}
				want = append(want, name)
				if name == "d/07" {
					return fs.SkipDir
				}
				return err
			}))
			if !slices.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

// TestWalkBadDirectory has one directory that cannot be listed.
func TestWalkBadDirectory(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "a/f", nil)
	s.WriteFile(t, "b/f", nil)
	c := open(t, s)
	check(t, c.Connect(t.Context()))
	s.Faults().Inject(1, uftptest.Fault{Verb: "STAT", Skip: 1, Reply: "500 Error processing command: [Errno 13] Permission denied"})
	var names, failed []string
	check(t, transfer.Walk(t.Context(), transfer.Remote{Client: c}, ".", func(name string, _ uftp.Info, err error) error {
		if err == nil {
			names = append(names, name)
		} else {
			failed = append(failed, name)
		}
		return nil
	}))
	if len(failed) != 1 || len(names) != 3 {
		t.Errorf("names %v, failed %v", names, failed)
	}
}
