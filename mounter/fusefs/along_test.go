package fusefs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// TestAlong: a path that was not used for a while is one question, however deep it is,
// and what others did to it is seen.
func TestAlong(t *testing.T) {
	const valid = 300 * time.Millisecond
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = valid, valid })
	const deep = "a/b/c/d/e"
	if err := os.MkdirAll(m.served(deep), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, m.served(deep+"/f"), "content")
	var questions, stats atomic.Int64
	var down atomic.Bool
	m.remote.setFault(func(_ context.Context, op, _ string) error {
		switch op {
		case "stat some":
			questions.Add(1)
			if down.Load() {
				return uftp.ErrUnavailable
			}
		case "stat":
			stats.Add(1)
		}
		return nil
	})
	// again asks after the kernel has stopped to believe in anything.
	again := func() (fi fs.FileInfo, err error) {
		asked := time.Now()
		eventually(t, "nothing is believed", func() bool { return time.Since(asked) > valid+50*time.Millisecond })
		questions.Store(0)
		stats.Store(0)
		return os.Stat(m.path(deep + "/f"))
	}
	for range 3 {
		if _, err := again(); err != nil {
			t.Fatal(err)
		}
	}
	if q, n, all := questions.Load(), stats.Load(), int64(len(strings.Split(deep, "/"))+2); q != 1 || n != all {
		t.Errorf("%d questions about %d things, want 1 about %d", q, n, all)
	}

	write(t, m.served(deep+"/f"), "other content")
	if fi, err := again(); err != nil || fi.Size() != int64(len("other content")) {
		t.Errorf("a changed file: %v, %v", fi, err)
	}
	// Another directory in the middle, without the file in it.
	if err := os.Rename(m.served("a/b"), m.served("a/was")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(m.served("a/b/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := again(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: %v", err)
	}
	if err := errors.Join(os.RemoveAll(m.served("a/b")), os.WriteFile(m.served("a/b"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := again(); err == nil || errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file in the middle: %v", err)
	}
	if err := errors.Join(os.Remove(m.served("a/b")), os.Rename(m.served("a/was"), m.served("a/b"))); err != nil {
		t.Fatal(err)
	}
	if _, err := again(); err != nil {
		t.Errorf("back again: %v", err)
	}
	// Who wanders about is told about the right one.
	write(t, m.served(filepath.Dir(deep)+"/sibling"), "abc")
	for range 2 {
		if fi, err := os.Stat(m.path(filepath.Dir(deep) + "/sibling")); err != nil || fi.Size() != 3 {
			t.Errorf("a sibling: %v, %v", fi, err)
		}
		if _, err := again(); err != nil {
			t.Error(err)
		}
	}
	// One wait for a server that is away is enough.
	down.Store(true)
	if _, err := again(); !errors.Is(err, syscall.EIO) || stats.Load() > 0 {
		t.Errorf("a server that is away: %v, and %d more questions", err, stats.Load())
	}
}
