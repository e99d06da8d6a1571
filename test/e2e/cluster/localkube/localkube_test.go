package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// built is where make e2e-build puts the programs and images.
const built = "../../../../build/e2e"

// rig starts clusters below a base of its own.
type rig struct{ base string }

func newRig(t *testing.T) rig {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	for _, file := range []string{"kube", "localkube", "images/pause.tar"} {
		if _, err := os.Stat(filepath.Join(built, file)); err != nil {
			t.Skip("there is no Kubernetes: make e2e-build")
		}
	}
	t.Parallel()
	base, err := os.MkdirTemp("/var/lib", "csi-uftp-e2e-test-") //nolint:usetesting // overlayfs wants a disk, and cgroups a name of their own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := downAll(options{base: base}); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	return rig{base}
}

// run starts localkube run.
func (r rig) run(t *testing.T, argv ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "localkube"), append([]string{"run", "-base", r.base, "-bin", built, "--"}, argv...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// left lists what there still is of the rig's clusters.
func (r rig) left(t *testing.T) (left []string) {
	t.Helper()
	cgroup := filepath.Base(r.base) + "-*"
	for _, pattern := range []string{r.base + "/*", filepath.Join(cgroupRoot, cgroup), filepath.Join(cgroupRoot, "*", cgroup)} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), r.base+"/") {
			left = append(left, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return left
}

func (r rig) nothingLeft(t *testing.T) {
	t.Helper()
	if left := r.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Two clusters at once: one succeeds, one fails.
func TestRun(t *testing.T) {
	r := newRig(t)
	good, goodOut := r.run(t, "sh", "-ec", `kubectl get nodes; $E2E_NODE_EXEC hostname; $E2E_RESTART_KUBELET`)
	bad, badOut := r.run(t, "sh", "-c", "exit 7")
	if err := good.Wait(); err != nil || !strings.Contains(goodOut.String(), nodeName) {
		t.Errorf("a command that succeeds: %v\n%s", err, goodOut)
	}
	err := bad.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
		t.Errorf("a command that exits with 7: %v\n%s", err, badOut)
	}
	r.nothingLeft(t)
}

// Interrupted, it cleans up; killed, what is left is files, until the next run.
func TestInterruptAndKill(t *testing.T) {
	r := newRig(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		up := filepath.Join(t.TempDir(), "up")
		cmd, out := r.run(t, "sh", "-c", "echo > "+up+"; exec sleep 600")
		if err := until(t.Context(), 3*time.Minute, "cluster", func(context.Context) error {
			_, err := os.Stat(up)
			return err
		}); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		clusters, err := filepath.Glob(filepath.Join(r.base, "run-*"))
		if err != nil || len(clusters) != 1 {
			t.Fatalf("clusters: %v (%v)", clusters, err)
		}
		pid, err := cluster{clusters[0]}.pid()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%v: success", signal)
		}
		if err := kill(pid); err != nil { // and waits for its end
			t.Fatal(err)
		}
		if signal == syscall.SIGKILL {
			if err := downAll(options{base: r.base}); err != nil {
				t.Fatal(err)
			}
		}
		r.nothingLeft(t)
	}
}
