package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// cast is who takes part: the processes, below one directory.
type cast struct {
	root, binary         string
	server, keeper, node *process
	authURL              string
}

func (c *cast) path(elem ...string) string {
	return filepath.Join(append([]string{c.root}, elem...)...)
}

// start starts all and waits until they answer.
func (c *cast) start(ctx context.Context, size int64) error {
	if err := os.Mkdir(c.path("served"), 0o755); err != nil {
		return err
	}
	var err error
	c.server, err = c.run("server", "testserver", "--dir", c.path("served"), "--ca-file", c.path("ca.pem"),
		"--generate", "--generate-size", strconv.FormatInt(size, 10))
	if err != nil {
		return err
	}
	err = c.server.wait(ctx, 5*time.Minute, func() bool {
		out, err := os.ReadFile(c.path("server.out"))
		if err != nil || !strings.Contains(string(out), "CA file") {
			return false
		}
		_, url, _ := strings.Cut(string(out), "uftp://")
		url, _, _ = strings.Cut(url, "\n")
		c.authURL = "https://" + strings.TrimSuffix(url, ":")
		return true
	})
	if err != nil {
		return err
	}
	if c.keeper, err = c.run("keeper", "keeper", "--socket", c.path("keeper.sock")); err != nil {
		return err
	}
	if err := c.keeper.wait(ctx, 10*time.Second, exists(c.path("keeper.sock"))); err != nil {
		return err
	}
	c.node, err = c.run("node", "node", "--endpoint", "unix://"+c.path("csi.sock"), "--node-id", "demo",
		"--kubelet-dir", c.path("kubelet"), "--keeper-socket", c.path("keeper.sock"))
	if err != nil {
		return err
	}
	return c.node.wait(ctx, 10*time.Second, exists(c.path("csi.sock")))
}

func exists(path string) func() bool {
	return func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
}

// process is a running command of the program.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid when done is closed
}

// run starts a command. Its messages go to NAME.log, its output to NAME.out. A
// process group of its own keeps it from the terminal's Ctrl-C: things end in
// order.
func (c *cast) run(name string, args ...string) (*process, error) {
	logs, err := os.Create(c.path(name + ".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = logs.Close() }()
	out, err := os.Create(c.path(name + ".out"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(c.binary, args...) //nolint:noctx // stop ends it, in order
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, logs, c.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// wait returns when ready says so.
func (p *process) wait(ctx context.Context, timeout time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the %s was not ready after %v", p.name, timeout))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("the %s ended: %w", p.name, p.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// interrupted is the exit code of a command that a signal ended early.
const interrupted = 130

// stop ends the process if it was started, and reports if it did not end well.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.done
	if p.err != nil && p.cmd.ProcessState.ExitCode() != interrupted {
		return fmt.Errorf("the %s ended: %w", p.name, p.err)
	}
	return nil
}

// volume is the published volume, as the kubelet sees it.
type volume struct {
	client csi.NodeClient
	close  func() error
	target string
}

const volumeID = "demo-volume"

// publish asks the node service for the volume, with the secrets of the user.
func (c *cast) publish(ctx context.Context) (_ *volume, err error) {
	conn, err := grpc.NewClient("unix://"+c.path("csi.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	v := &volume{client: csi.NewNodeClient(conn), close: conn.Close, target: c.path("kubelet", "pods", "demo", "volume")}
	ca, err := os.ReadFile(c.path("ca.pem"))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	_, err = v.client.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId:   volumeID,
		TargetPath: v.target,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		},
		VolumeContext: map[string]string{"authURL": c.authURL, "path": c.path("served")},
		Secrets:       map[string]string{"username": "demo", "password": "demo-password", "ca.crt": string(ca)},
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return v, nil
}

// unpublish undoes publish, also when ctx has ended.
func (v *volume) unpublish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	_, err := v.client.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: v.target})
	return errors.Join(err, v.close())
}
