package pods_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// cluster is how the tests reach the cluster: by kubectl, as users do.
type cluster struct {
	load, nodeExec, restartKubelet []string
	overlay                        string
	uftpd                          string // the program, "" for the test server
}

func environment() cluster {
	c := cluster{
		load: strings.Fields(os.Getenv("E2E_LOAD")), nodeExec: strings.Fields(os.Getenv("E2E_NODE_EXEC")),
		restartKubelet: strings.Fields(os.Getenv("E2E_RESTART_KUBELET")), overlay: os.Getenv("E2E_OVERLAY"),
		uftpd: os.Getenv("E2E_UFTPD"),
	}
	if c.overlay == "" {
		c.overlay = "local"
	}
	return c
}

// command runs a program and returns what it printed; its error has what it said.
func command(ctx context.Context, stdin []byte, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), errors.Join(err, ctx.Err()), strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func (c cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	return command(ctx, nil, append([]string{"kubectl"}, args...)...)
}

// create makes objects of the Kubernetes API.
func (c cluster) create(ctx context.Context, objects ...runtime.Object) error {
	var items []json.RawMessage
	for _, obj := range objects {
		kinds, _, err := scheme.Scheme.ObjectKinds(obj)
		if err != nil {
			return err
		}
		obj.GetObjectKind().SetGroupVersionKind(kinds[0])
		data, err := json.Marshal(obj)
		if err != nil {
			return err
		}
		items = append(items, data)
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		return err
	}
	_, err = command(ctx, list, "kubectl", "create", "-f", "-")
	return err
}

// mounts counts the mounts of the node at each place.
func (c cluster) mounts(ctx context.Context) (map[string]int, error) {
	if len(c.nodeExec) == 0 {
		return nil, nil
	}
	table, err := command(ctx, nil, append(c.nodeExec, "cat", "/proc/mounts")...)
	if err != nil {
		return nil, err
	}
	count := make(map[string]int)
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 {
			count[f[2]+" on "+f[1]]++
		}
	}
	return count, nil
}

// eventually calls f until it succeeds, and returns its last error if it does not
// within the limit.
func eventually(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // not that it was cut short
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, last)
		case <-tick.C:
		}
	}
}
