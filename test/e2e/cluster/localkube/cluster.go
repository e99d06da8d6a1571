package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cluster is one cluster's directory. It holds
//
//	lock        locked while the cluster lives
//	keep        there if it was made by up
//	pid         of its init, as seen from outside
//	kubeconfig  for use from outside
//	log/        of every program
//
// and what the programs need.
type cluster struct{ dir string }

func (c cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// cgroup is the name of the cgroup, in every hierarchy, that the pods' are in.
func (c cluster) cgroup() string {
	base, name := filepath.Split(c.dir)
	return filepath.Base(base) + "-" + name
}

// errNotUp means that there is no such cluster, or not any more.
var errNotUp = errors.New("no cluster runs there")

// pid returns the cluster's init.
func (c cluster) pid() (int, error) {
	data, err := os.ReadFile(c.path("pid"))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.dir, errNotUp)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.path("pid"), err)
	}
	// The number may be another process's by now.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), "\x00"+commandInit+"\x00-dir\x00"+c.dir+"\x00") {
		return 0, fmt.Errorf("%s: %w", c.dir, errNotUp)
	}
	return pid, nil
}

// enter runs a command on the node.
func (c cluster) enter(ctx context.Context, argv ...string) error {
	pid, err := c.pid()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(pid), "-m", "-p", "-n", "-u", "--"}, argv...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// load imports images into containerd.
func (c cluster) load(ctx context.Context, files []string) error {
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		if err := c.enter(ctx, importImage(file)...); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}

// restart ends a program of the node and waits until it has been started again.
func (c cluster) restart(ctx context.Context, names []string) error {
	if len(names) != 1 {
		return errors.New("usage: localkube restart -dir DIR kubelet")
	}
	file := c.path("run", names[0]+".pid")
	before, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s cannot be restarted: %w", names[0], err)
	}
	if err := c.enter(ctx, "kill", "-TERM", string(before)); err != nil {
		return err
	}
	return until(ctx, time.Minute, names[0], func(context.Context) error {
		now, err := os.ReadFile(file)
		if err == nil && string(now) == string(before) {
			err = errors.New("it has not ended yet")
		}
		return err
	})
}

// down ends the cluster and removes everything it made. It may be called again
// after it failed.
func (c cluster) down() error {
	if pid, err := c.pid(); err == nil {
		if err := kill(pid); err != nil {
			return fmt.Errorf("end cluster %s: %w", c.dir, err)
		}
	}
	return errors.Join(removeCgroups(c.cgroup()), os.RemoveAll(c.dir))
}

// kill ends a process that is not our child, and waits until it is gone.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(time.Minute); ; {
		n, err := unix.Poll(poll, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("process %d did not end within a minute", pid)
		default:
			return nil
		}
	}
}

// until calls check until it succeeds.
func until(ctx context.Context, limit time.Duration, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s not ready within %v: %w", what, limit, err)
		case <-tick.C:
		}
	}
}

// tail returns the end of a log.
func tail(file string) string {
	const most = 4 << 10
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	return string(data)
}
