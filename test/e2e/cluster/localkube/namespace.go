package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	nodeName = "e2e-node"
	nodeIP   = "172.31.77.1"
	apiPort  = "6443"
)

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %q on %s: %w", source, target, err)
	}
	return nil
}

// propagate sets a mount's propagation.
func propagate(target string, flags uintptr) error { return mount("", target, "", flags, "") }

// setupMounts gives the node its own view of the machine's files.
func setupMounts(c cluster) error {
	// Cut off from the machine's mounts, then shared among ourselves, because
	// Bidirectional propagation needs shared mounts to propagate to.
	if err := propagate("/", syscall.MS_PRIVATE|syscall.MS_REC); err != nil {
		return err
	}
	if err := propagate("/", syscall.MS_SHARED|syscall.MS_REC); err != nil {
		return err
	}
	if err := forgetFUSE(); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for own, dir := range map[string]string{
		"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "varlog": "/var/log", "varcni": "/var/lib/cni",
	} {
		if err := mount(c.path(own), dir, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
		// A peer group of its own, or every mount below would show twice.
		if err := propagate(dir, syscall.MS_PRIVATE); err != nil {
			return err
		}
		if err := propagate(dir, syscall.MS_SHARED); err != nil {
			return err
		}
	}
	if err := fakeSysctls(c); err != nil {
		return err
	}
	return syscall.Sethostname([]byte(nodeName))
}

// forgetFUSE drops our copies of the machine's FUSE mounts: they would keep them
// alive after those who made them unmounted them.
func forgetFUSE() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 2 && strings.HasPrefix(f[2], "fuse") && f[2] != "fusectl" {
			if err := syscall.Unmount(f[1], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("unmount our copy of %s: %w", f[1], err)
			}
		}
	}
	return nil
}

// fakeSysctls shows the kubelet the values that it insists on, instead of letting
// it change the whole machine's.
func fakeSysctls(c cluster) error {
	for name, want := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := c.path("etc", "sysctl."+filepath.Base(name))
		if err := os.WriteFile(file, []byte(want+"\n"), 0o600); err != nil {
			return err
		}
		if err := syscall.Mount(file, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over sysctl %s: %w", name, err)
		}
	}
	return nil
}

// setupNetwork gives the node an address that leads nowhere else.
func setupNetwork(ctx context.Context) error {
	for _, args := range []string{
		"link set lo up",
		"link add node0 type bridge", // not every kernel has dummy interfaces
		"addr add " + nodeIP + "/32 dev node0",
		"link set node0 up",
		"route add default dev node0", // packets to services need some route before kube-proxy's rules see them
	} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	for _, file := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"} {
		if err := os.WriteFile(file, []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
