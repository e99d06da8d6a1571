package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// rclone is rclone mount with its FTP backend. Anybody's one-time password does
// for it, as it logs in several times.
type rclone struct{}

func (rclone) name() string { return "rclone" }
func (rclone) writes() bool { return true }

func (rclone) missing() string {
	if _, err := exec.LookPath("rclone"); err != nil {
		return "rclone is not installed"
	}
	return ""
}

func (rclone) mount(ctx context.Context, r *rig, dir string) (*mounted, error) {
	address, password, err := r.password(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	// rclone wants it obscured, which is no encryption: it stays out of arguments.
	cmd := exec.CommandContext(ctx, "rclone", "obscure", "-")
	cmd.Stdin = strings.NewReader(password)
	obscured, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	env := []string{
		"RCLONE_FTP_HOST=" + host, "RCLONE_FTP_PORT=" + port, "RCLONE_FTP_USER=anonymous",
		"RCLONE_FTP_PASS=" + strings.TrimSpace(string(obscured)), "RCLONE_CONFIG=" + os.DevNull,
	}
	p, err := start(r.root, "rclone", env, "rclone", "mount", ":ftp:", dir, "--allow-other", "--vfs-cache-mode", "off")
	if err != nil {
		return nil, err
	}
	m := &mounted{dir: dir, main: p, pid: p.cmd.Process.Pid, end: syscall.SIGTERM}
	if err := p.await(ctx, isMount(dir)); err != nil {
		m.unmount()
		return nil, err
	}
	return m, nil
}

// pyunicore is PyUNICORE's FUSE driver.
type pyunicore struct{}

func (pyunicore) name() string { return "PyUNICORE" }
func (pyunicore) writes() bool { return true }

func (pyunicore) python() string { return filepath.Join(os.Getenv("PYFUSE"), "bin", "python") }

func (p pyunicore) missing() string {
	if _, err := os.Stat(p.python()); err != nil {
		return "there is no virtual environment with it ($PYFUSE)"
	}
	if out, err := exec.Command(p.python(), "-c", "import pyunicore.uftp.uftpfuse").CombinedOutput(); err != nil { //nolint:noctx // quick
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return lines[len(lines)-1]
	}
	return ""
}

func (p pyunicore) mount(ctx context.Context, r *rig, dir string) (*mounted, error) {
	address, password, err := r.password(ctx)
	if err != nil {
		return nil, err
	}
	main, err := start(r.root, "pyunicore", []string{"UFTP_PASSWORD=" + password},
		p.python(), "-m", "pyunicore.uftp.uftpfuse", "--foreground", address, dir)
	if err != nil {
		return nil, err
	}
	m := &mounted{dir: dir, main: main, pid: main.cmd.Process.Pid}
	if err := main.await(ctx, isMount(dir)); err != nil {
		m.unmount()
		return nil, err
	}
	return m, nil
}
