package mounter_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// A keeper is killed: its workers serve on, and when one of those dies too the
// mount fails instead of hanging.
func TestKeeperKilled(t *testing.T) {
	e := newEnv(t)
	cmd := e.keeperProcess(0)
	p := e.publication("v1", "a")
	e.publish(p)
	worker := e.lastWorker()

	_ = cmd.Process.Kill()
	eventually(t, "the node notices", func() bool { return strings.Contains(e.log.String(), "lost the keeper") })
	if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Errorf("the mount without a keeper: %v", err)
	}
	if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword)); err != nil {
		t.Errorf("republish without a keeper: %v", err)
	}
	e.startKeeper()
	e.publish(p)
	if e.lastWorker() != worker {
		t.Error("the mount that served was replaced")
	}
	// A node that restarts too knows nothing of it, and leaves it alone.
	e.restartNode()
	e.publish(p)
	if b, err := os.ReadFile(filepath.Join(p.Target, "f")); err != nil || string(b) != "x" {
		t.Errorf("the mount after both restarts: %q, %v", b, err)
	}

	if err := unix.Kill(worker, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ENOTCONN", func() bool {
		_, err := os.ReadDir(p.Target)
		return errors.Is(err, syscall.ENOTCONN)
	})
	e.publish(p)
	if b, err := os.ReadFile(filepath.Join(p.Target, "f")); err != nil || string(b) != "x" {
		t.Errorf("the new mount: %q, %v", b, err)
	}
	e.unpublish(p)
}

// keeperProcess replaces the keeper by one in a process and of a user of its own.
func (e *env) keeperProcess(uid uint32) *exec.Cmd {
	e.t.Helper()
	e.stop() // the one in this process serves no more
	if err := os.Remove(e.socket); err != nil {
		e.t.Fatal(err)
	}
	e.socket = filepath.Join(e.t.TempDir(), "keeper.sock")
	for _, dir := range []string{filepath.Dir(e.socket), filepath.Dir(filepath.Dir(e.socket))} {
		if err := os.Chmod(dir, 0o777); err != nil {
			e.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(e.t.Context(), "/proc/self/exe", "keeper", e.socket, e.served)
	cmd.Stderr = e.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(e.t, "the keeper listens", func() bool {
		c, err := keeper.Dial(e.t.Context(), e.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return cmd
}

// The product's keeper is nobody in particular, and so are its workers.
func TestUnprivilegedKeeper(t *testing.T) {
	e := newEnv(t)
	const user = 65011
	cmd := e.keeperProcess(user)
	p := e.publication("v1", "a")
	e.publish(p)
	if err := os.WriteFile(filepath.Join(p.Target, "f"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	for who, pid := range map[string]int{"worker": e.lastWorker(), "keeper": cmd.Process.Pid} {
		// What cannot be traced or dumped belongs to root.
		st, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("the %s can be traced: %v", who, err)
		}
		got := procFields(t, pid)
		if got["Uid"] != "65011 65011 65011 65011" || strings.Trim(got["CapEff"], "0") != "" {
			t.Errorf("the %s is %s with %s", who, got["Uid"], got["CapEff"])
		}
		if who == "worker" && got["NoNewPrivs"] != "1" {
			t.Error("the worker may gain privileges")
		}
	}
	e.publish(p)
	e.unpublish(p)
	e.wantNothing()
}

// Unpublish of a mount that neither manager nor keeper knows any more.
func TestUnpublishUnknown(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	worker := e.lastWorker()
	note := []byte(`{"fingerprint":"","dir":""}`)
	c, err := keeper.Dial(t.Context(), e.socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetNote(t.Context(), filepath.Base(e.sources()[0]), note); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	e.restartNode()
	e.unpublish(p)
	eventually(t, "nothing is left", func() bool { return len(e.mounts()) == 0 && !alive(worker) })
}

// What a node that goes away has begun and not mounted, ends.
func TestUnservedWorkerEndsWithItsNode(t *testing.T) {
	e := newEnv(t)
	c, err := keeper.Dial(t.Context(), e.socket)
	if err != nil {
		t.Fatal(err)
	}
	data, err := uftp.MarshalAccess(access("demo", goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	credential, err := wire.Seal("test", data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = credential.Close() }()
	if err := c.Create(t.Context(), "half", e.spec(), nil, credential); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), "half", e.spec(), nil, credential); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second mount of the same name: %v, want ErrExist", err)
	}
	_ = c.Close()
	eventually(t, "the worker ends", func() bool { return len(workersOf(e.keeperLogPIDs())) == 0 })
}
