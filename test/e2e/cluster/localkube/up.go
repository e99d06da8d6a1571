package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run starts a cluster, runs a command with it, and takes it down.
func run(ctx context.Context, o options, argv []string) (err error) {
	if len(argv) == 0 {
		return errors.New("usage: localkube run [flags] -- CMD ARGS")
	}
	c, err := start(ctx, o, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.down(), tidy(o.base)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // as the cluster dies with us, too
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+c.path("kubeconfig"),
		"PATH="+bin+":"+os.Getenv("PATH"),
		"E2E_LOAD="+self+" load -dir "+c.dir,
		"E2E_NODE_EXEC="+self+" exec -dir "+c.dir+" --",
		"E2E_RESTART_KUBELET="+self+" restart -dir "+c.dir+" kubelet")
	return cmd.Run()
}

// tidy removes the base if it is empty.
func tidy(base string) error {
	unlock, err := lockBase(base)
	if err != nil {
		return err
	}
	defer unlock()
	return removeBase(base)
}

// up starts a cluster and leaves it.
func up(ctx context.Context, o options) error {
	c, err := start(ctx, o, true)
	if err == nil {
		fmt.Printf("export KUBECONFIG=%s\n", c.path("kubeconfig"))
	}
	return err
}

// start makes a cluster and waits until pods can be made. Unless it is to be
// kept, it dies with this process.
func start(ctx context.Context, o options, keep bool) (c cluster, err error) {
	began := time.Now()
	kube, err := filepath.Abs(filepath.Join(o.bin, "kube"))
	if err == nil {
		_, err = os.Stat(kube)
	}
	if err != nil {
		return c, err
	}
	c, lock, err := create(o, keep)
	if err != nil {
		return c, err
	}
	defer lock.Close() // the cluster's init has it
	defer func() {
		if err != nil {
			err = errors.Join(err, c.down())
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(o.port))
	if err != nil {
		return c, err
	}
	defer listener.Close()
	door, err := listener.(*net.TCPListener).File()
	if err != nil {
		return c, err
	}
	defer door.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		return c, err
	}
	defer ready.Close()

	args := []string{commandInit, "-dir", c.dir, "-bin", filepath.Dir(kube), "-cni", o.cni,
		"-port", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)}
	err = startInit(c, args, keep, []*os.File{door, tell, lock})
	tell.Close()
	if err != nil {
		return c, err
	}
	if err := await(ctx, ready); err != nil {
		return c, fmt.Errorf("%w\n%s", err, tail(c.path("log", "node.log")))
	}
	fmt.Printf("cluster %s ready after %.1f s\n", c.dir, time.Since(began).Seconds())
	return c, nil
}

// startInit starts the first process in the cluster's namespaces. files are its
// descriptors 3 and following.
func startInit(c cluster, args []string, keep bool, files []*os.File) error {
	log, err := os.Create(c.path("log", "node.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", args...) //nolint:noctx // its life is not the context's
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS,
	}
	if !keep {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // or it would stay as a zombie
	return os.WriteFile(c.path("pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// await reads the one byte that says that the cluster is ready. If all who could
// write it are gone, the cluster is.
func await(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now()) })
	defer stop()
	if err := ready.SetReadDeadline(time.Now().Add(4 * time.Minute)); err != nil {
		return err
	}
	_, err := ready.Read(make([]byte, 1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return errors.New("the cluster ended while starting")
	case err != nil:
		return fmt.Errorf("the cluster did not become ready: %w", err)
	}
	return nil
}

// create makes the directories of a cluster and locks it. First it removes what
// clusters left that were killed together with whoever ran them.
func create(o options, keep bool) (cluster, *os.File, error) {
	unlock, err := lockBase(o.base)
	if err != nil {
		return cluster{}, nil, err
	}
	defer unlock()
	if err := sweep(o.base); err != nil {
		return cluster{}, nil, err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp(o.base, "run-"); err != nil {
			return cluster{}, nil, err
		}
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return cluster{}, nil, err
	}
	c := cluster{o.dir}
	for _, d := range []string{"log", "etc/pki", "run", "kubelet", "containerd", "varlog", "varcni", "etcd", "flexvolume"} {
		if err := os.MkdirAll(c.path(d), 0o700); err != nil {
			return c, nil, err
		}
	}
	lock, err := os.Create(c.path("lock"))
	if err != nil {
		return c, nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return c, nil, fmt.Errorf("a cluster runs in %s already: %w", c.dir, err)
	}
	if keep {
		if err := os.WriteFile(c.path("keep"), nil, 0o600); err != nil {
			lock.Close()
			return c, nil, err
		}
	}
	if err := makeCgroups(c.cgroup()); err != nil {
		lock.Close()
		return c, nil, err
	}
	return c, lock, nil
}
