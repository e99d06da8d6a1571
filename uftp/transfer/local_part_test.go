package transfer_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// TestPartsOfOneFile has many who copy the same file at once: each either has the
// part to himself or hears that somebody else has it.
func TestPartsOfOneFile(t *testing.T) {
	dir := transfer.Local{Root: t.TempDir()}
	copyOnce := func(commit bool) error {
		part, err := dir.Create(t.Context(), "f", ".uftp-part-f", false)
		if err != nil {
			return err
		}
		err = part.WriteAt(t.Context(), []byte("whole"), 0)
		if err == nil && commit {
			err = part.Commit(t.Context(), 5, uftp.Attr{})
		}
		if err == nil && commit {
			var data []byte
			if data, err = os.ReadFile(dir.Path("f")); string(data) != "whole" && err == nil {
				err = errors.New("the copy is damaged: " + string(data))
			}
		}
		return errors.Join(err, part.Close(t.Context(), false))
	}
	var copies sync.WaitGroup
	for i := range 4 {
		copies.Go(func() {
			for range 2000 {
				if err := copyOnce(i%2 == 0); err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
					return
				}
			}
		})
	}
	copies.Wait()
}

// TestPartIsLink has a link in the place of a part: it is not followed.
func TestPartIsLink(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	check(t, os.WriteFile(other, []byte("precious"), 0o600))
	check(t, os.Symlink("other", filepath.Join(dir, ".uftp-part-f")))
	if _, err := (transfer.Local{Root: dir}).Create(t.Context(), "f", ".uftp-part-f", false); err == nil {
		t.Error("the link was followed")
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
}
