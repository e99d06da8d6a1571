package mounter_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestPublishReadWriteUnpublish(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a/mount")
	e.publish(p)

	want := make([]byte, 5<<20+123)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(want)
	name := filepath.Join(p.Target, "data")
	if err := os.WriteFile(name, want, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(e.served, "data"))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("written through the mount: %d bytes, want %d, err %v", len(got), len(want), err)
	}
	got, err = os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read through the mount: %d bytes, want %d, err %v", len(got), len(want), err)
	}
	stats, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target)
	if err != nil || stats.TotalBytes <= 0 || stats.Abnormal != "" {
		t.Errorf("stats: %+v, %v", stats, err)
	}

	e.unpublish(p)
	e.unpublish(p) // again: nothing to undo
	if left := e.mounts(); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
	if left := workersOf(e.keeperLogPIDs()); len(left) > 0 {
		t.Errorf("workers left: %v", left)
	}
	if left, _ := os.ReadDir(filepath.Join(e.plugin, "mounts")); len(left) > 0 {
		t.Errorf("mount directories left: %v", left)
	}
	if _, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stats after unpublish: %v, want fs.ErrNotExist", err)
	}
}

func TestReadAheadIsRaised(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	var st unix.Stat_t
	if err := unix.Stat(p.Target, &st); err != nil {
		t.Fatal(err)
	}
	kb := strings.TrimSpace(shell(t, "cat /sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if kb != "4096" {
		t.Errorf("read_ahead_kb is %s, want 4096", kb)
	}
	e.unpublish(p)
}

// What is wrong with credential, path or server is said before anything is
// mounted or made.
func TestPublishErrors(t *testing.T) {
	e := newEnv(t)
	tests := []struct {
		name   string
		change func(*volume.Publication)
		access uftp.Access
		want   error
		text   string
	}{
		{name: "wrong password", access: access("demo", "bad-M4RKED-S3CRET"), want: uftp.ErrAuth, text: "403: Forbidden"},
		{name: "missing base", change: func(p *volume.Publication) { p.Spec.Path += "/none" },
			access: access("demo", goodPassword), want: fs.ErrNotExist, text: "no such directory"},
		{name: "relative target", change: func(p *volume.Publication) { p.Target = "somewhere" },
			access: access("demo", goodPassword), want: fs.ErrInvalid, text: "not absolute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := e.publication("v1", "x/mount")
			if tt.change != nil {
				tt.change(&p)
			}
			err := e.manager.Publish(t.Context(), p, tt.access)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.text)
			}
			if strings.Contains(err.Error(), "M4RKED") {
				t.Errorf("the error shows a secret: %v", err)
			}
			if left := e.mounts(); len(left) > 0 {
				t.Errorf("mounts left: %v", left)
			}
			if _, err := os.Lstat(p.Target); !os.IsNotExist(err) {
				t.Errorf("target was made: %v", err)
			}
			if left := workersOf(e.keeperLogPIDs()); len(left) > 0 {
				t.Errorf("workers left: %v", left)
			}
		})
	}
}

func TestTargetIsMade(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "deep/er/mount")
	e.publish(p)
	// Look under the bind.
	if err := unix.Unmount(p.Target, 0); err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(p.Target)
	if err != nil || st.Mode().Perm() != 0 {
		t.Errorf("bare target: %v, %v; want mode 0000", st, err)
	}
	st, err = os.Lstat(filepath.Dir(p.Target))
	if err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("parent: %v, %v; want mode 0750", st, err)
	}
	e.publish(p) // and it is bound again
	if _, err := os.ReadDir(p.Target); err != nil {
		t.Error(err)
	}
	e.unpublish(p)
}

func TestRepublishIsIdempotent(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	for range 10 {
		e.publish(p)
	}
	if n := len(e.mounts()); n != 2 {
		t.Errorf("%d mounts, want a source and a bind: %v", n, e.mounts())
	}
	if n := len(e.keeperLogPIDs()); n != 1 {
		t.Errorf("%d workers were started, want 1", n)
	}
	e.unpublish(p)
}

func TestPublicationsShareAMount(t *testing.T) {
	e := newEnv(t)
	a, b := e.publication("v1", "a"), e.publication("v1", "b")
	other := e.publication("v2", "other")
	other.Spec.AttrTimeout = time.Minute
	private := e.publication("v1", "private")
	private.Spec.Sharing = "none"
	private2 := e.publication("v1", "private2")
	private2.Spec.Sharing = "none"
	for _, p := range []volume.Publication{a, b} {
		e.publish(p)
	}
	if n := len(e.sources()); n != 1 {
		t.Errorf("%d mounts for two equal publications, want 1", n)
	}
	e.publish(other)
	if n := len(e.sources()); n != 2 {
		t.Errorf("%d mounts with another spec, want 2", n)
	}
	// The same password, another user.
	third := e.publication("v1", "third")
	if err := e.manager.Publish(t.Context(), third, access("other", goodPassword)); err != nil {
		t.Fatal(err)
	}
	if n := len(e.sources()); n != 3 {
		t.Errorf("%d mounts with another credential, want 3", n)
	}
	e.publish(private)
	e.publish(private2)
	if n := len(e.sources()); n != 5 {
		t.Errorf("%d mounts with sharing off, want 5", n)
	}
	e.unpublish(a)
	if err := os.WriteFile(filepath.Join(b.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Errorf("the other publication: %v", err)
	}
	for _, p := range []volume.Publication{b, other, third, private, private2} {
		e.unpublish(p)
	}
	if left := e.mounts(); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
}

func TestReadOnly(t *testing.T) {
	e := newEnv(t)
	rw, ro := e.publication("v1", "rw"), e.publication("v1", "ro")
	ro.ReadOnly = true
	e.publish(rw)
	e.publish(ro)
	if n := len(e.sources()); n != 1 {
		t.Errorf("%d mounts, want 1: only the bind is read-only", n)
	}
	if err := os.WriteFile(filepath.Join(rw.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(ro.Target, "g"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write to the read-only bind: %v, want EROFS", err)
	}
	if b, err := os.ReadFile(filepath.Join(ro.Target, "f")); err != nil || string(b) != "x" {
		t.Errorf("read: %q, %v", b, err)
	}
	e.unpublish(rw)
	e.unpublish(ro)

	whole := e.publication("v1", "whole")
	whole.Spec.ReadOnly = true
	e.publish(whole)
	if err := os.WriteFile(filepath.Join(whole.Target, "g"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write to the read-only volume: %v, want EROFS", err)
	}
	e.unpublish(whole)
}

func TestConflictAndInUse(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	readOnly := p
	readOnly.ReadOnly = true
	if err := e.manager.Publish(t.Context(), readOnly, access("demo", goodPassword)); !errors.Is(err, volume.ErrConflict) {
		t.Errorf("read-only: %v, want ErrConflict", err)
	}
	second := e.publication("v1", "b")
	second.Exclusive = true
	if err := e.manager.Publish(t.Context(), second, access("demo", goodPassword)); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("exclusive second target: %v, want ErrInUse", err)
	}
	other := e.publication("v2", "c")
	other.Exclusive = true
	e.publish(other)
	e.unpublish(p)
	e.publish(second)
	e.publish(second)
	e.unpublish(second)
	e.unpublish(other)
}

// What a new version has as another default, or an administrator writes into a
// mount option, does not take the mount away from a pod that runs.
func TestSettingsChange(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	worker := e.lastWorker()
	p.Spec.UID, p.Spec.AttrTimeout = 7, time.Minute
	for range 3 {
		e.publish(p)
	}
	if e.lastWorker() != worker {
		t.Error("the mount was replaced")
	}
	if n := strings.Count(e.log.String(), "settings have changed"); n != 1 || !strings.Contains(e.log.String(), `attributes="[uid attrTimeout]"`) {
		t.Errorf("said %d times, want once, with the attributes", n)
	}
	if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword+"-2")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(e.stderr.Name()); strings.Count(string(b), "credential replaced") != 1 {
		t.Error("the new credential did not reach the worker")
	}
	if err := unix.Kill(worker, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the death is known", func() bool { return strings.Contains(e.log.String(), "lost its worker") })
	e.publish(p)
	e.publish(p)
	if n := strings.Count(e.log.String(), "settings have changed"); n != 1 {
		t.Error("the new mount has not the new settings")
	}
	e.unpublish(p)
}

func TestCredentialRefresh(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	worker := e.lastWorker()
	republish := func(user, password string) {
		t.Helper()
		if err := e.manager.Publish(t.Context(), p, access(user, password)); err != nil {
			t.Fatalf("republish: %v", err)
		}
	}
	workers := func() string {
		b, err := os.ReadFile(e.stderr.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	republish("demo", "bad")
	republish("demo", "bad") // for another pod, say
	if n := strings.Count(e.log.String(), "new credential not accepted"); n != 1 {
		t.Errorf("a bad credential was tried and reported %d times, want once", n)
	}
	republish("somebody-else", goodPassword+"-2")
	if strings.Contains(workers(), "credential replaced") {
		t.Error("the worker took a credential that it must not take")
	}
	republish("demo", goodPassword+"-2")
	if strings.Count(workers(), "credential replaced") != 1 {
		t.Errorf("the worker did not take the new credential:\n%s", workers())
	}
	republish("demo", goodPassword+"-2")
	if strings.Count(workers(), "credential replaced") != 1 {
		t.Error("an unchanged credential was sent again")
	}
	// The mount is found by the credential that it has now.
	b := e.publication("v1", "b")
	if err := e.manager.Publish(t.Context(), b, access("demo", goodPassword+"-2")); err != nil {
		t.Fatal(err)
	}
	if len(e.sources()) != 1 || e.lastWorker() != worker {
		t.Errorf("mounts %v", e.sources())
	}
	e.unpublish(b)
	e.unpublish(p)
}

func TestWorkerKilled(t *testing.T) {
	e := newEnv(t)
	p, q := e.publication("v1", "a"), e.publication("v1", "b")
	e.publish(p)
	e.publish(q)
	f, err := os.Create(filepath.Join(p.Target, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	hanging := make(chan error, 1)
	go func() {
		_, err := os.Lstat(filepath.Join(p.Target, "hang"))
		hanging <- err
	}()
	if err := unix.Kill(e.lastWorker(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-hanging:
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("the call that waited: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a call hangs after the worker was killed")
	}
	eventually(t, "ENOTCONN", func() bool {
		_, err := os.ReadDir(p.Target)
		return errors.Is(err, syscall.ENOTCONN)
	})
	eventually(t, "abnormal stats", func() bool {
		s, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target)
		return err == nil && strings.Contains(s.Abnormal, "killed")
	})
	e.publish(p)
	if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("again"), 0o644); err != nil {
		t.Errorf("after the republish: %v", err)
	}
	if s, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target); err != nil || s.Abnormal != "" {
		t.Errorf("stats after the republish: %+v, %v", s, err)
	}
	e.publish(q)
	if b, err := os.ReadFile(filepath.Join(q.Target, "f")); err != nil || string(b) != "again" {
		t.Errorf("the other target: %q, %v", b, err)
	}
	if n := len(e.sources()); n != 1 {
		t.Errorf("%d sources, want 1", n)
	}
	_ = f.Close()
	e.unpublish(p)
	e.unpublish(q)
}

// Unpublish works on a mount that is dead, and on one that nobody republished.
func TestUnpublishDeadMount(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	if err := unix.Kill(e.lastWorker(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.unpublish(p)
	if left := e.mounts(); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
}

// A worker that answers nothing does not keep a target from going away.
func TestUnpublishStoppedWorker(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	pid := e.lastWorker()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hanging := make(chan struct{})
	go func() {
		_, _ = os.ReadDir(p.Target)
		close(hanging)
	}()
	start := time.Now()
	e.unpublish(p)
	<-hanging
	if d := time.Since(start); d > 40*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestPanicIsEIO(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	if _, err := os.Lstat(filepath.Join(p.Target, "panic")); !errors.Is(err, syscall.EIO) {
		t.Errorf("panic in the file system: %v, want EIO", err)
	}
	if _, err := os.ReadDir(p.Target); err != nil {
		t.Errorf("after it: %v", err)
	}
	e.unpublish(p)
}

func TestNodeRestart(t *testing.T) {
	e := newEnv(t)
	p, q := e.publication("v1", "a"), e.publication("v2", "b")
	q.Spec.UID, q.ReadOnly, q.Exclusive = 5, true, true
	e.publish(p)
	e.publish(q)
	f, err := os.Create(filepath.Join(p.Target, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	started := len(e.keeperLogPIDs())

	e.restartNode()
	if _, err := f.WriteString("still open"); err != nil {
		t.Errorf("a file that is open: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	e.publish(p)
	e.publish(q)
	if n := len(e.keeperLogPIDs()); n != started {
		t.Errorf("%d workers started after the restart", n-started)
	}
	changed := q
	changed.ReadOnly = false
	if err := e.manager.Publish(t.Context(), changed, access("demo", goodPassword)); !errors.Is(err, volume.ErrConflict) {
		t.Errorf("not read-only any more: %v, want ErrConflict", err)
	}
	again := e.publication("v2", "c")
	if err := e.manager.Publish(t.Context(), again, access("demo", goodPassword)); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("exclusive: %v, want ErrInUse", err)
	}
	if s, err := e.manager.Stats(t.Context(), "v1", p.Target); err != nil || s.TotalBytes == 0 {
		t.Errorf("stats: %+v, %v", s, err)
	}
	// A new publication finds the mount of before.
	r := e.publication("v1", "r")
	e.publish(r)
	if n := len(e.sources()); n != 2 {
		t.Errorf("%d mounts, want 2", n)
	}
	for _, p := range []volume.Publication{p, q, r} {
		e.unpublish(p)
	}
}

// A worker dies while no node process runs.
func TestNodeRestartAfterWorkerDeath(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	if err := e.manager.Close(); err != nil {
		t.Fatal(err)
	}
	pid := e.lastWorker()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "worker gone", func() bool { return !alive(pid) })
	eventually(t, "ENOTCONN", func() bool {
		_, err := os.ReadDir(p.Target)
		return errors.Is(err, syscall.ENOTCONN)
	})
	e.manager = e.newManager()
	if err := e.manager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := e.sources(); len(left) > 0 {
		t.Errorf("dead mounts left in the plugin's directory: %v", left)
	}
	e.publish(p)
	if _, err := os.ReadDir(p.Target); err != nil {
		t.Error(err)
	}
	e.unpublish(p)
}

// The keeper restarts: its workers are told to end, mounts die instead of
// hanging, and the node makes new ones.
func TestKeeperRestart(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	e.stopKeeper()
	eventually(t, "ENOTCONN", func() bool {
		_, err := os.ReadDir(p.Target)
		return errors.Is(err, syscall.ENOTCONN)
	})
	s, err := e.manager.Stats(t.Context(), "v1", p.Target)
	if err != nil || s.Abnormal == "" {
		t.Errorf("stats without a keeper: %+v, %v", s, err)
	}
	if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword)); !errors.Is(err, uftp.ErrUnavailable) {
		t.Errorf("publish without a keeper: %v, want ErrUnavailable", err)
	}
	e.startKeeper()
	e.publish(p)
	if _, err := os.ReadDir(p.Target); err != nil {
		t.Error(err)
	}
	e.unpublish(p)
}

// A keeper that ends while it makes a mount is worth another try.
func TestKeeperEndsMeanwhile(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	for i := range 20 {
		var stopping sync.WaitGroup
		stopping.Go(func() {
			<-time.After(time.Duration(i) * time.Millisecond)
			e.stopKeeper()
		})
		// One that waits for a worker that was ended with its keeper waits in vain.
		err := e.manager.Publish(t.Context(), p, access("demo", goodPassword))
		if err != nil && !errors.Is(err, uftp.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("published while the keeper ended: %v, want ErrUnavailable or DeadlineExceeded", err)
		}
		stopping.Wait()
		e.startKeeper()
	}
	eventually(t, "published after that", func() bool {
		return e.manager.Publish(t.Context(), p, access("demo", goodPassword)) == nil
	})
	e.unpublish(p)
}

// Whatever happens at the same time, each target has one operation, and nothing
// is left at the end.
func TestConcurrent(t *testing.T) {
	e := newEnv(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			p := e.publication("v1", string(rune('a'+i%5)))
			p.Spec.UID = uint32(i % 2)
			for range 4 {
				err := e.manager.Publish(t.Context(), p, access("demo", goodPassword))
				if err != nil && !errors.Is(err, mounter.ErrInProgress) && !errors.Is(err, volume.ErrConflict) {
					t.Errorf("publish: %v", err)
				}
				if err == nil && i%2 == 0 {
					_, _ = os.ReadDir(p.Target)
				}
				err = e.manager.Unpublish(t.Context(), p.VolumeID, p.Target)
				if err != nil && !errors.Is(err, mounter.ErrInProgress) {
					t.Errorf("unpublish: %v", err)
				}
			}
		})
	}
	group.Wait()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		e.unpublish(e.publication("v1", name))
	}
	if left := e.mounts(); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
}

func TestPublishCanceled(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := e.publication("v1", "a")
	if err := e.manager.Publish(ctx, p, access("demo", goodPassword)); !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v, want Canceled", err)
	}
	if left := e.mounts(); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
}

// A subPath that the kubelet bound is left alone, and unpublish does not wait
// for it for ever.
func TestForeignBindStays(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	sub := filepath.Join(e.dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(p.Target, sub, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	e.unpublish(p)
	if got := e.mounts(); len(got) != 1 || got[0] != sub {
		t.Errorf("mounts %v, want only %s", got, sub)
	}
	if err := unix.Unmount(sub, 0); err != nil {
		t.Error(err)
	}
}
