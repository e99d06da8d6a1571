package transfer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestUnreadableFile has one file among thousands that the server does not give.
func TestUnreadableFile(t *testing.T) {
	const files = 2000
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		for i := range files {
			s.WriteFile(t, fmt.Sprintf("d/%04d", i), pattern(10, uint64(i)))
		}
		if s.Real() {
			check(t, os.Chmod(filepath.Join(s.Dir(), "d/0777"), 0))
		} else {
			s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Skip: 777, Errno: syscall.EACCES})
		}
		dir := t.TempDir()
		rec := newRecorder()
		sum, err := transfer.Run(t.Context(), transfer.Job{
			From: transfer.Remote{Client: open(t, s), Prefix: "server:"}, To: transfer.Local{Root: dir},
			Pairs: []transfer.Pair{{From: "d", To: "d"}}, Recursive: true, Observer: rec,
		})
		if !errors.Is(err, transfer.ErrIncomplete) || sum.Failed != 1 || sum.Files != files-1 {
			t.Fatalf("%v, %+v", err, sum)
		}
		for _, err := range rec.failed {
			if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "server:d/0") {
				t.Error(err)
			}
		}
		if n := len(readTree(t, filepath.Join(dir, "d"))); n != files-1 {
			t.Errorf("%d files copied", n)
		}
	})
}

// TestFullDisk copies more than the disk holds: what has a name is whole, and
// nothing else is left.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs root to mount a small file system:", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	s := uftptest.Start(t, uftptest.Config{})
	const files, size = 40, 64 << 10
	for i := range files {
		s.WriteFile(t, fmt.Sprintf("d/%02d", i), pattern(size, uint64(i)))
	}
	rec := newRecorder()
	sum, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Remote{Client: open(t, s)}, To: transfer.Local{Root: dir},
		Pairs: []transfer.Pair{{From: "d", To: "d"}}, Recursive: true, Observer: rec,
	})
	if !errors.Is(err, transfer.ErrIncomplete) || sum.Failed == 0 || sum.Files == 0 || sum.Files+sum.Failed != files {
		t.Fatalf("%v, %+v", err, sum)
	}
	for name, err := range rec.failed {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := readTree(t, filepath.Join(dir, "d"))
	want := readTree(t, filepath.Join(s.Dir(), "d"))
	if len(got) != int(sum.Files) {
		t.Errorf("%d files on the disk, %d copied", len(got), sum.Files)
	}
	for name, hash := range got {
		if want[name] != hash {
			t.Errorf("%s is not whole", name)
		}
	}
}

// TestCorruptCopy has a copy whose checksum is wrong.
func TestCorruptCopy(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", []byte("hello"))
	s.Faults().Inject(1, uftptest.Fault{Verb: "HASH", Reply: "213 MD5 0-4 00000000000000000000000000000000 f"})
	dir := t.TempDir()
	_, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Remote{Client: open(t, s)}, To: transfer.Local{Root: dir},
		Pairs: []transfer.Pair{{From: "f", To: "f"}}, Verify: "MD5",
	})
	if !errors.Is(err, transfer.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	if got := readTree(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}
