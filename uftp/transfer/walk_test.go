package transfer_test

import (
	"context"
	"errors"
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
	for i := range 600 { // more than are listed ahead
		s.WriteFile(t, fmt.Sprintf("d/%03d/sub/f", i), nil)
		s.WriteFile(t, fmt.Sprintf("d/%03d.txt", i), nil)
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
				if name == "d/007" {
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
				if name == "d/007" {
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

// badTree has a directory that cannot be listed.
type badTree struct{ transfer.Tree }

// ListSome asks for each.
func (t badTree) ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error) {
	listings := make([]uftp.Listing, len(dirs))
	for i, dir := range dirs {
		listings[i].Entries, listings[i].Err = t.List(ctx, dir)
	}
	return listings, nil
}

func (t badTree) List(ctx context.Context, dir string) ([]uftp.Info, error) {
	if dir == "a" {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrPermission}
	}
	return t.Tree.List(ctx, dir)
}

// TestWalkBadDirectory goes on where one directory cannot be listed.
func TestWalkBadDirectory(t *testing.T) {
	dir := t.TempDir()
	write := localWriter(t, dir)
	write("a/f", nil)
	write("b/f", nil)
	var names, failed []string
	check(t, transfer.Walk(t.Context(), badTree{transfer.Local{Root: dir}}, ".", func(name string, _ uftp.Info, err error) error {
		if err == nil {
			names = append(names, name)
		} else {
			failed = append(failed, name)
		}
		return nil
	}))
	if !slices.Equal(failed, []string{"a"}) || !slices.Equal(names, []string{"a", "b", "b/f"}) {
		t.Errorf("names %v, failed %v", names, failed)
	}
}

// TestCopyBadDirectory: of a directory that cannot be listed nothing is made.
func TestCopyBadDirectory(t *testing.T) {
	dir := t.TempDir()
	write := localWriter(t, dir)
	write("src/a/f", nil)
	write("src/b/f", nil)
	sum, err := transfer.Run(t.Context(), transfer.Job{
		From: badTree{transfer.Local{Root: filepath.Join(dir, "src")}}, To: transfer.Local{Root: dir},
		Pairs: []transfer.Pair{{From: ".", To: "dst"}}, Recursive: true,
	})
	if !errors.Is(err, transfer.ErrIncomplete) || sum.Failed != 1 || sum.Dirs != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, ok := readTree(t, filepath.Join(dir, "dst"))["a"]; ok {
		t.Error("it was made")
	}
}
