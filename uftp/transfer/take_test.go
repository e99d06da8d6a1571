package transfer_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestUploadedSizeIsKnown does not ask how large an uploaded file is: the server has
// said so when it confirmed the pieces. Half of another version, which is longer,
// is not taken for it.
func TestUploadedSizeIsKnown(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	dir := t.TempDir()
	data := pattern(40<<20+1, 5)
	check(t, os.WriteFile(filepath.Join(dir, "f"), data, 0o644))
	job := transfer.Job{
		From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)}, Pairs: []transfer.Pair{{From: "f", To: "f"}},
	}
	_, err := transfer.Run(t.Context(), job)
	check(t, err)
	got, err := os.ReadFile(filepath.Join(s.Dir(), "f"))
	check(t, err)
	if !bytes.Equal(got, data) {
		t.Error("wrong bytes")
	}
	// Of the target, and of a few that confirm pieces: with MLST asks who wants to
	// know what a name is.
	if n := s.Stats().Commands["MLST"]; n != 1 {
		t.Errorf("%d questions for an upload, want one, for the target", n)
	}
}

// TestSourceShrinks cuts a file that is being uploaded: nothing gets its name, and
// nothing is left behind.
func TestSourceShrinks(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, pattern(40<<20, 6), 0o644))
	rec := newRecorder()
	var once sync.Once
	rec.onMoved = func() { once.Do(func() { check(t, os.Truncate(name, 100)) }) }
	_, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)}, Observer: rec,
		Pairs: []transfer.Pair{{From: "f", To: "f"}}, Parallel: 1,
	})
	if !errors.Is(err, transfer.ErrChanged) {
		t.Errorf("error %v", err)
	}
	if got := readTree(t, s.Dir()); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestRangeInPlace writes a range into a file that is there, on a server, whose part
// asks for bytes, and on the local disk, whose part does not.
func TestRangeInPlace(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	for name, tt := range map[string]struct {
		to   transfer.Tree
		root string
	}{
		"server": {transfer.Remote{Client: open(t, s)}, s.Dir()},
		"local":  {to: transfer.Local{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if l, ok := tt.to.(transfer.Local); ok {
				l.Root = t.TempDir()
				tt.to, tt.root = l, l.Root
			}
			data, old := pattern(3<<20, 7), pattern(4<<20, 8)
			check(t, os.WriteFile(filepath.Join(dir, "f"), data, 0o644))
			check(t, os.WriteFile(filepath.Join(tt.root, "f"), old, 0o644))
			const off, n = 1<<20 + 5, 1<<20 + 7
			_, err := transfer.Run(t.Context(), transfer.Job{
				From: transfer.Local{Root: dir}, To: tt.to, Pairs: []transfer.Pair{{From: "f", To: "f"}},
				Range: &transfer.Range{Offset: off, Length: n}, InPlace: true,
			})
			check(t, err)
			got, err := os.ReadFile(filepath.Join(tt.root, "f"))
			check(t, err)
			copy(old[off:off+n], data[off:])
			if !bytes.Equal(got, old) {
				t.Error("wrong bytes")
			}
		})
	}
}
