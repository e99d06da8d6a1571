package pods_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// watching is a pod that reads a file of the volume all the time, and fails if it
// cannot.
func (n *space) watching(name, claim string) *corev1.Pod {
	n.t.Helper()
	sum := n.onServer("fill", n.dir("watched"), "20000000", "watched")
	pod := n.pod(name, claim)
	pod.Spec.Containers[0].Args = []string{"watch", "/" + claim + "/watched", sum}
	return pod
}

// goesOn checks that a watching pod reads, from now on, some more.
func (n *space) goesOn(pod string) {
	n.t.Helper()
	start := -1
	n.must(eventually(n.t.Context(), podTimeout, func(ctx context.Context) error {
		log, err := n.kubectl(ctx, "-n", n.name, "logs", pod)
		if err != nil {
			return err
		}
		now := strings.Count(log, "\n")
		if start < 0 {
			start = now
		}
		if now < start+3 {
			return fmt.Errorf("it does not go on: %s", log[max(0, len(log)-500):])
		}
		return nil
	}))
	phase, err := n.kubectl(n.t.Context(), "-n", n.name, "get", "pod", pod, "-o", "jsonpath={.status.phase}")
	n.must(err)
	if phase != "Running" {
		n.t.Errorf("pod %s is %s", pod, phase)
	}
}

// restarted deletes all pods of a DaemonSet and waits for new ones.
func (n *space) restarted(namespace, name string) {
	n.t.Helper()
	for _, args := range [][]string{
		{"-n", namespace, "delete", "pods", "-l", "app.kubernetes.io/name=" + name, "--timeout=" + podTimeout.String()},
		{"-n", namespace, "rollout", "status", "daemonset/" + name, "--timeout=" + podTimeout.String()},
	} {
		_, err := n.kubectl(n.t.Context(), args...)
		n.must(err)
	}
}

// The node plugin restarts between publish and unpublish.
func TestDriverRestart(t *testing.T) {
	n := newSpaceAlone(t)
	n.static("data", n.dir())
	n.start(n.watching("a", "data"), n.pod("b", "data"))
	n.goesOn("a")
	n.restarted(nodeNamespace, "csi-uftp-node")
	n.goesOn("a")
	n.do("b", "write", "/data/x", "after the restart")
	n.start(n.pod("c", "data"))
	n.want("after the restart", "c", "cat", "/data/x")
	mounts := n.mountsOf("a")
	if len(n.nodeExec) > 0 && mounts == 0 {
		t.Error("the node shows no mount of the pod")
	}
	began := time.Now()
	n.end("a", "b", "c")
	// The driver lets go after a minute of what others keep alive.
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("the pods took %v to end: something keeps their mount alive", took)
	}
}

func TestKubeletRestart(t *testing.T) {
	n := newSpaceAlone(t)
	if len(n.restartKubelet) == 0 {
		t.Skip("E2E_RESTART_KUBELET is not set")
	}
	n.static("data", n.dir())
	n.start(n.watching("a", "data"))
	n.goesOn("a")
	_, err := command(t.Context(), nil, n.restartKubelet...)
	n.must(err)
	n.start(n.pod("b", "data")) // which takes the new kubelet
	n.do("b", "write", "/data/x", "x")
	n.goesOn("a")
	n.end("a", "b")
}

// A pod can end while its server is gone: it does not hang in Terminating, and
// nothing stays mounted.
func TestPodEndsWithoutServer(t *testing.T) {
	s := run(t)
	t.Parallel()
	own, err := s.startServer(t.Context(), serverNamespace, "short-lived")
	if err != nil {
		t.Fatal(err)
	}
	n := s.space(t, own)
	n.static("data", n.dir(), attribute("ioTimeout", "10m"))
	reader := n.watching("reader", "data") // and with it a request in flight
	n.start(reader, n.pod("idle", "data"))
	n.goesOn("reader")
	_, err = n.kubectl(t.Context(), "-n", own.namespace, "delete", "pod", own.pod, "--grace-period=0", "--force")
	n.must(err)
	uid, err := n.kubectl(t.Context(), "-n", n.name, "get", "pod", "reader", "-o", "jsonpath={.metadata.uid}")
	n.must(err)
	n.end("reader", "idle")
	if left := n.mountsWith(uid); left > 0 {
		t.Errorf("%d mounts of the pod are left", left)
	}
}
