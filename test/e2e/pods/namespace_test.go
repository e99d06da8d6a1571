package pods_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// podTimeout is how long pods may take to start or to end: much more than they
// do, because many start at once on a small machine.
const podTimeout = 3 * time.Minute

// space is a test's namespace, and a directory on the server of the same name.
type space struct {
	*suite
	t      *testing.T
	name   string
	server *server
}

// newSpace makes a namespace with the Secret "alice". The test runs beside others.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := run(t)
	t.Parallel()
	return s.space(t, s.server)
}

// newSpaceAlone is for tests that others must not run beside.
func newSpaceAlone(t *testing.T) *space {
	t.Helper()
	s := run(t)
	return s.space(t, s.server)
}

func (s *suite) space(t *testing.T, srv *server) *space {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test")))
	n := &space{suite: s, t: t, name: "e2e-" + name, server: srv}
	n.must(s.create(t.Context(), namespaceObject(n.name)))
	t.Cleanup(n.cleanup)
	n.secret(alice, srv.password(alice, alicePassword))
	n.onServer("mkdir", n.dir())
	return n
}

// cleanup shows what there is to know of a failure, and lets everything go; the
// end of it is waited for when all tests are done.
func (n *space) cleanup() {
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	if n.t.Failed() {
		for _, args := range [][]string{
			{"-n", n.name, "describe", "pods,pvc"},
			{"-n", nodeNamespace, "logs", "daemonset/csi-uftp-node", "-c", "node", "--tail=50"},
			{"-n", driverNamespace, "logs", "daemonset/csi-uftp-mount", "--tail=50"},
			{"-n", driverNamespace, "logs", "deployment/csi-uftp-controller", "--all-containers", "--tail=50"},
		} {
			out, err := n.kubectl(ctx, args...)
			n.t.Logf("kubectl %s (%v):\n%s", strings.Join(args, " "), err, out)
		}
	}
	if _, err := n.kubectl(ctx, "-n", n.name, "delete", "pods,jobs", "--all", "--wait=false"); err != nil {
		n.t.Error(err)
	}
}

func (n *space) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// dir is the test's directory on the server.
func (n *space) dir(elem ...string) string {
	return strings.Join(append([]string{serverRoot, n.name}, elem...), "/")
}

// onServer runs podtool on the server's files.
func (n *space) onServer(args ...string) string {
	n.t.Helper()
	out, err := n.server.tool(n.t.Context(), args...)
	n.must(err)
	return out
}

func (n *space) make(objects ...runtime.Object) {
	n.t.Helper()
	n.must(n.create(n.t.Context(), objects...))
}

func (n *space) secret(name string, data map[string]string) {
	n.t.Helper()
	n.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: name}, StringData: data})
}

// static makes a PersistentVolume for a directory of the server, and its claim.
func (n *space) static(name, path string, change ...func(*corev1.PersistentVolume)) {
	n.t.Helper()
	pv := volumeObject(n.name, name, map[string]string{"authURL": n.server.authURL, "path": path})
	for _, f := range change {
		f(pv)
	}
	n.make(pv, claimObject(n.name, name, "", pv.Name, pv.Spec.AccessModes[0]))
}

// pod is one that waits, with claims mounted at /CLAIM.
func (n *space) pod(name string, claims ...string) *corev1.Pod {
	return podObject(n.name, name, claims...)
}

// start makes pods and waits until they run.
func (n *space) start(pods ...*corev1.Pod) {
	n.t.Helper()
	for _, pod := range pods {
		n.make(pod)
	}
	for _, pod := range pods {
		n.ready(pod.Name)
	}
}

func (n *space) ready(pod string) {
	n.t.Helper()
	_, err := n.kubectl(n.t.Context(), "-n", n.name, "wait", "pod/"+pod, "--for=condition=Ready", "--timeout="+podTimeout.String())
	n.must(err)
}

// end deletes pods and waits until they are gone, and with them their mounts.
func (n *space) end(pods ...string) {
	n.t.Helper()
	_, err := n.kubectl(n.t.Context(), append([]string{"-n", n.name, "delete", "pod", "--timeout=" + podTimeout.String()}, pods...)...)
	n.must(err)
}

// exec runs podtool in a pod.
func (n *space) exec(pod string, args ...string) (string, error) {
	out, err := n.kubectl(n.t.Context(), append([]string{"-n", n.name, "exec", pod, "-c", "podtool", "--", "/podtool"}, args...)...)
	return strings.TrimSuffix(out, "\n"), err
}

// do runs podtool in a pod, and it must succeed.
func (n *space) do(pod string, args ...string) string {
	n.t.Helper()
	out, err := n.exec(pod, args...)
	n.must(err)
	return out
}

// want checks what podtool prints in a pod.
func (n *space) want(want, pod string, args ...string) {
	n.t.Helper()
	if got := n.do(pod, args...); got != want {
		n.t.Errorf("%s in pod %s prints %q, want %q", strings.Join(args, " "), pod, got, want)
	}
}

// refused checks that podtool fails in a pod with the text in its error.
func (n *space) refused(want, pod string, args ...string) {
	n.t.Helper()
	if out, err := n.exec(pod, args...); err == nil || !strings.Contains(err.Error(), want) {
		n.t.Errorf("%s in pod %s: %q, %v; want an error with %q", strings.Join(args, " "), pod, out, err, want)
	}
}

// described waits until kubectl describe shows all the texts.
func (n *space) described(object string, texts ...string) {
	n.t.Helper()
	n.must(eventually(n.t.Context(), podTimeout, func(ctx context.Context) error {
		out, err := n.kubectl(ctx, "-n", n.name, "describe", object)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return fmt.Errorf("%s does not show %q:\n%s", object, text, out)
			}
		}
		return nil
	}))
}

// mountsOf returns the places on the node where this test's volumes are mounted.
func (n *space) mountsOf(pod string) int {
	n.t.Helper()
	uid, err := n.kubectl(n.t.Context(), "-n", n.name, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	n.must(err)
	return n.mountsWith("/pods/" + uid + "/volumes/kubernetes.io~csi/")
}

func (n *space) mountsWith(part string) (count int) {
	n.t.Helper()
	table, err := n.mounts(n.t.Context())
	n.must(err)
	for mount, times := range table {
		if strings.Contains(mount, part) {
			count += times
		}
	}
	return count
}

var errStill = errors.New("not yet")
