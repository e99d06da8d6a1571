package node_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestWritesRefused has the server refuse what programs write: they hear the
// true reason at fsync and at close, and when the fault is gone their data is
// still there to be written.
func TestWritesRefused(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	n := startNode(t)
	v := n.mount(t, s, "refused", "ioTimeout=20s")
	for _, c := range []struct {
		errno syscall.Errno
		after int64 // bytes of the transfer
	}{
		{syscall.ENOSPC, 0}, {syscall.EDQUOT, 100 << 10}, {syscall.EACCES, 0}, {syscall.EIO, 300 << 10},
	} {
		t.Run(unix.ErrnoName(c.errno), func(t *testing.T) {
			name := unix.ErrnoName(c.errno)
			data := content(uint64(c.errno), 3<<20)
			f, err := os.Create(filepath.Join(v.target, name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s.Faults().Inject(-1, uftptest.Fault{Verb: "STOR", Errno: c.errno, Transfer: c.after > 0, After: c.after})
			defer s.Faults().Clear()
			if _, err := f.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := within(t, 30*time.Second, "fsync", f.Sync); !errors.Is(err, c.errno) {
				t.Errorf("fsync: %v, want %v", err, c.errno)
			}
			got := make([]byte, len(data))
			if _, err := f.ReadAt(got, 0); err == nil {
				sameBytes(t, "read back what the server does not have", got, data)
			} else if !errors.Is(err, syscall.EACCES) { // it was written only
				if !errors.Is(err, syscall.EBADF) {
					t.Error(err)
				}
			}
			second, err := os.OpenFile(filepath.Join(v.target, name), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := within(t, 30*time.Second, "close", second.Close); !errors.Is(err, c.errno) {
				t.Errorf("close: %v, want %v", err, c.errno)
			}
			s.Faults().Clear()
			if err := within(t, 30*time.Second, "fsync after the fault", f.Sync); err != nil {
				t.Error(err)
			}
			if got, err = os.ReadFile(filepath.Join(s.Dir(), name)); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "on the server", got, data)
		})
	}
	t.Run("background", func(t *testing.T) {
		// The program is gone. What it wrote goes up by itself.
		name, data := filepath.Join(v.target, "left"), content(7, 1<<20)
		s.Faults().Inject(-1, uftptest.Fault{Verb: "STOR", Errno: syscall.ENOSPC})
		if _, err := os.Create(name); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("creating: %v", err)
		}
		s.Faults().Clear()
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		s.Faults().Inject(-1, uftptest.Fault{Verb: "STOR", Errno: syscall.ENOSPC})
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("close: %v", err)
		}
		s.Faults().Clear()
		waitFor(t, "the upload", func() bool {
			got, err := os.ReadFile(filepath.Join(s.Dir(), "left"))
			return err == nil && bytes.Equal(got, data)
		})
	})
}

// TestDiskFull fills a real disk.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"uftptest", "uftpd"} {
		t.Run(kind, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("mounting needs root")
			}
			disk := t.TempDir()
			if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=16m,mode=755"); err != nil {
				t.Skipf("no tmpfs here: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(disk, 0); err != nil {
					t.Errorf("unmount the disk: %v", err)
					_ = unix.Unmount(disk, unix.MNT_DETACH)
				}
			})
			start := uftptest.Start
			if kind == "uftpd" {
				start = uftptest.StartReal
			}
			fillDisk(t, start(t, uftptest.Config{Dir: disk}))
		})
	}
}

func fillDisk(t *testing.T, s *uftptest.Server) {
	n := startNode(t)
	v := n.mount(t, s, "full", "dirtyLimit=4Mi", "ioTimeout=60s")
	before := content(1, 1<<20)
	if err := os.WriteFile(filepath.Join(v.target, "before"), before, 0o644); err != nil {
		t.Fatal(err)
	}
	// Much more than may wait: the program must not wait for the impossible.
	start := time.Now()
	out, err := command(t, v.target, "dd", "if=/dev/zero", "of=big", "bs=1M", "count=40")
	if took := time.Since(start); err == nil || !strings.Contains(out, "No space left on device") || took > 30*time.Second {
		t.Errorf("dd: %v after %v\n%s", err, took, out)
	}
	out, err = command(t, v.target, "dd", "if=/dev/zero", "of=small", "bs=1M", "count=2", "conv=fsync")
	if err == nil || !strings.Contains(out, "No space left on device") {
		t.Errorf("dd conv=fsync: %v\n%s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(v.target, "before"))
	if err != nil {
		t.Error(err)
	}
	sameBytes(t, "a file from before", got, before)
	for _, name := range []string{"big", "small"} {
		if err := within(t, 30*time.Second, "remove "+name, func() error { return os.Remove(filepath.Join(v.target, name)) }); err != nil {
			t.Error(err)
		}
	}
	after := content(2, 8<<20)
	err = within(t, 60*time.Second, "write again", func() error {
		return os.WriteFile(filepath.Join(v.target, "after"), after, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = os.ReadFile(filepath.Join(s.Dir(), "after")); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "written after the disk was full", got, after)
	left, err := os.ReadDir(s.Dir())
	if err != nil || len(left) != 2 {
		t.Errorf("on the server: %v, %v", left, err)
	}
}
