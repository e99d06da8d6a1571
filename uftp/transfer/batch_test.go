package transfer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestManySmallFiles uploads them together: it must not cost round trips for each,
// and one that fails must not harm another.
func TestManySmallFiles(t *testing.T) {
	for name, hash := range map[string]string{"size": "", "hash": "MD5"} {
		t.Run(name, func(t *testing.T) { testManySmallFiles(t, hash) })
	}
}

func testManySmallFiles(t *testing.T, hash string) {
	const files = 1000
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		dir := t.TempDir()
		write := localWriter(t, dir)
		for i := range files {
			write(fmt.Sprintf("d/%d/f%03d", i%3, i), pattern(i%5*1000, uint64(i)))
		}
		c := open(t, s)
		rec := newRecorder()
		job := transfer.Job{
			From: transfer.Local{Root: dir}, To: transfer.Remote{Client: c},
			Pairs: []transfer.Pair{{From: "d", To: "d"}}, Recursive: true, Times: true, Modes: true, Verify: hash, Observer: rec,
		}
		before := c.Stats().RoundTrips
		sum, err := transfer.Run(t.Context(), job)
		check(t, err)
		if trips := c.Stats().RoundTrips - before; trips > files/10 {
			t.Errorf("%d round trips for %d files", trips, files)
		}
		if sum.Files != files || sum.Bytes != rec.bytes || sum.Bytes != 2000*files {
			t.Errorf("%+v, told of %d bytes", sum, rec.bytes)
		}
		if diff := cmp.Diff(readTree(t, filepath.Join(dir, "d")), readTree(t, filepath.Join(s.Dir(), "d"))); diff != "" {
			t.Error(diff)
		}
		job.Existing = transfer.KeepSame
		if sum, err = transfer.Run(t.Context(), job); err != nil || sum.Skipped != files {
			t.Errorf("again: %+v, %v", sum, err)
		}

		check(t, os.Remove(filepath.Join(s.Dir(), "d/1/f502")))
		check(t, os.MkdirAll(filepath.Join(s.Dir(), "d/1/f502/x"), 0o755))
		s.Chown(t)
		old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		check(t, os.Chtimes(filepath.Join(dir, "d/1/f502"), old, old))
		check(t, os.Chtimes(filepath.Join(dir, "d/2/f503"), old, old))
		rec = newRecorder()
		job.Observer, job.Existing = rec, transfer.Replace
		sum, err = transfer.Run(t.Context(), job)
		if !errors.Is(err, transfer.ErrIncomplete) || sum.Failed != 1 || sum.Files != files-1 || !errors.Is(rec.failed["d/1/f502"], syscall.EISDIR) {
			t.Errorf("%+v, %v", sum, rec.failed)
		}
		fi, err := os.Stat(filepath.Join(s.Dir(), "d/2/f503"))
		check(t, err)
		if !fi.ModTime().Equal(old) {
			t.Errorf("time %v", fi.ModTime())
		}
		check(t, filepath.WalkDir(s.Dir(), func(path string, _ fs.DirEntry, err error) error {
			if ok, _ := filepath.Match(transfer.PartPrefix+"*", filepath.Base(path)); ok {
				t.Errorf("%s is left", path)
			}
			return err
		}))
	})
}
