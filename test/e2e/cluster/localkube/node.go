package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// node starts and watches the programs of the cluster, inside its namespaces.
type node struct {
	cluster
	options
	log  *slog.Logger
	fail context.CancelCauseFunc // ends the cluster

	programs sync.WaitGroup
}

// nodeMain runs the node until a program ends that should not, or ctx does.
func nodeMain(ctx context.Context, o options) error {
	ctx, fail := context.WithCancelCause(ctx)
	n := &node{cluster: cluster{o.dir}, options: o, log: slog.New(slog.NewTextHandler(os.Stdout, nil)), fail: fail}
	defer n.programs.Wait()
	defer fail(nil)
	ready := os.NewFile(fdReady, "ready")
	syscall.CloseOnExec(fdReady)
	door, err := net.FileListener(os.NewFile(fdDoor, "door"))
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fdDoor)
	go passThrough(ctx, door, net.JoinHostPort(nodeIP, apiPort))
	if err := setupMounts(n.cluster); err != nil {
		return err
	}
	if err := setupNetwork(ctx); err != nil {
		return err
	}
	admin, err := n.writeConfig()
	if err != nil {
		return err
	}
	if err := n.bringUp(ctx, admin); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if _, err := ready.Write([]byte{1}); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// bringUp starts the programs in an order in which none waits for long.
func (n *node) bringUp(ctx context.Context, admin *api) error {
	for _, name := range []string{"containerd", "etcd", "kube-apiserver"} {
		n.start(ctx, name)
	}
	loaded := make(chan error, 1)
	go func() { loaded <- n.loadImages(ctx) }()
	if err := until(ctx, 2*time.Minute, "the API server", admin.ok("/readyz")); err != nil {
		return err
	}
	n.log.Info("API server ready")
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		n.start(ctx, name)
	}
	if err := <-loaded; err != nil {
		return err
	}
	n.log.Info("images loaded")
	n.start(ctx, "kubelet")
	if err := until(ctx, 2*time.Minute, "the node", admin.nodeReady); err != nil {
		return err
	}
	n.log.Info("node ready")
	return until(ctx, time.Minute, "the default service account", admin.ok("/api/v1/namespaces/default/serviceaccounts/default"))
}

// start runs a program. Its end is the cluster's, but for the kubelet, which is
// started again as systemd would.
func (n *node) start(ctx context.Context, name string) {
	n.programs.Go(func() {
		for ctx.Err() == nil {
			if err := n.run(ctx, name, n.program(name)); name != "kubelet" {
				n.fail(fmt.Errorf("%s ended: %w; its log ends with\n%s", name, err, tail(n.path("log", name+".log"))))
				return
			}
			n.log.Info("starting it again", "program", name)
		}
	})
}

// run runs a program until it ends. Its process id is in run/NAME.pid.
func (n *node) run(ctx context.Context, name string, argv []string) error {
	log, err := os.OpenFile(n.path("log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := n.path("run", name+".pid")
	if err := os.WriteFile(pid+".new", []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	if err := os.Rename(pid+".new", pid); err != nil {
		return err
	}
	return cmd.Wait()
}

// loadImages imports the images into containerd as soon as it answers.
func (n *node) loadImages(ctx context.Context) error {
	err := until(ctx, time.Minute, "containerd", func(ctx context.Context) error {
		return exec.CommandContext(ctx, "ctr", "version").Run()
	})
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(n.bin, "images", "*.tar"))
	if err != nil {
		return err
	}
	for _, file := range files {
		argv := importImage(file)
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("load %s: %w: %s", filepath.Base(file), err, out)
		}
	}
	return nil
}

// importImage is the command that gives an image to the kubelet's containerd.
func importImage(file string) []string {
	return []string{"ctr", "-n", "k8s.io", "images", "import", file}
}

// passThrough connects everybody who comes to listener with to.
func passThrough(ctx context.Context, listener net.Listener, to string) {
	for {
		outer, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outer.Close()
			inner, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			defer inner.Close()
			go func() {
				_, _ = io.Copy(inner, outer)
				_ = inner.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(outer, inner)
		}()
	}
}
