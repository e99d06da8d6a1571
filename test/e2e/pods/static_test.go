package pods_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What Linux says, as podtool prints it.
const (
	permissionDenied = "errno 13:"
	readOnlyVolume   = "errno 30:"
)

func mode(m corev1.PersistentVolumeAccessMode) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) { pv.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{m} }
}

func attribute(name, value string) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeAttributes[name] = value }
}

func TestStaticVolume(t *testing.T) {
	n := newSpace(t)
	n.onServer("write", n.dir("there"), "from the server")
	n.static("data", n.dir())
	n.start(n.pod("a", "data"))
	n.want("from the server", "a", "cat", "/data/there")
	n.do("a", "write", "/data/new", "from the pod")
	if got := n.onServer("cat", n.dir("new")); got != "from the pod" {
		t.Errorf("the server has %q", got)
	}
	sum := n.do("a", "fill", "/data/large", "50000000", "seed")
	if got := n.onServer("sum", n.dir("large")); got != sum {
		t.Errorf("the server's checksum is %s, the pod wrote %s", got, sum)
	}
	n.end("a")
}

func TestTwoPodsShareAVolume(t *testing.T) {
	n := newSpace(t)
	n.static("data", n.dir())
	n.start(n.pod("a", "data"), n.pod("b", "data"))
	n.do("a", "write", "/data/x", "from a")
	n.want("from a", "b", "cat", "/data/x")
	n.do("b", "append", "/data/x", ", from b")
	n.want("from a, from b", "a", "cat", "/data/x")
	n.do("b", "rm", "/data/x")
	n.refused("errno 2:", "a", "cat", "/data/x")
}

func TestReadOnlyMany(t *testing.T) {
	n := newSpace(t)
	n.onServer("write", n.dir("x"), "x")
	n.static("data", n.dir(), mode(corev1.ReadOnlyMany))
	n.start(n.pod("a", "data"), n.pod("b", "data"))
	for _, pod := range []string{"a", "b"} {
		n.want("x", pod, "cat", "/data/x")
		n.refused(readOnlyVolume, pod, "write", "/data/y", "y")
	}
}

// One pod may read only, by the word of its own spec; the other may write.
func TestReadOnlyInOnePod(t *testing.T) {
	n := newSpace(t)
	n.static("data", n.dir())
	reader := n.pod("reader", "data")
	reader.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	n.start(reader, n.pod("writer", "data"))
	n.do("writer", "write", "/data/x", "x")
	n.want("x", "reader", "cat", "/data/x")
	n.refused(readOnlyVolume, "reader", "write", "/data/x", "y")
}

// The volume itself is read-only: by its attribute, or by a mount option. (What
// is called spec.csi.readOnly never reaches the node when nothing is attached.)
func TestReadOnlyVolume(t *testing.T) {
	n := newSpace(t)
	n.static("attribute", n.dir(), attribute("readOnly", "true"))
	n.static("option", n.dir(), func(pv *corev1.PersistentVolume) { pv.Spec.MountOptions = []string{"ro"} })
	n.start(n.pod("a", "attribute", "option"))
	n.refused(readOnlyVolume, "a", "write", "/attribute/x", "x")
	n.refused(readOnlyVolume, "a", "write", "/option/x", "x")
}

func TestReadWriteOncePod(t *testing.T) {
	n := newSpace(t)
	n.static("data", n.dir(), mode(corev1.ReadWriteOncePod))
	n.start(n.pod("a", "data"))
	n.make(n.pod("b", "data"))
	n.described("pod/b", "ReadWriteOncePod")
	n.do("a", "write", "/data/x", "from a")
	n.end("a")
	n.ready("b")
	n.want("from a", "b", "cat", "/data/x")
}

func TestSubPath(t *testing.T) {
	n := newSpace(t)
	n.onServer("mkdir", n.dir("below"))
	n.onServer("write", n.dir("below/x"), "below")
	n.static("data", n.dir())
	pod := n.pod("a", "data")
	mounts := &pod.Spec.Containers[0].VolumeMounts
	(*mounts)[0].SubPath = "below"
	*mounts = append(*mounts, corev1.VolumeMount{Name: "data", MountPath: "/new", SubPath: "made/by/kubelet"})
	n.start(pod)
	n.want("below", "a", "cat", "/data/x")
	n.do("a", "write", "/new/y", "y")
	if got := n.onServer("cat", n.dir("made/by/kubelet/y")); got != "y" {
		t.Errorf("the server has %q", got)
	}
	n.end("a")
}

// A user who is not root, with the group of the pod and without.
func TestNonRoot(t *testing.T) {
	n := newSpace(t)
	n.onServer("write", n.dir("x"), "x")
	n.static("data", n.dir())
	with, without := n.pod("with", "data"), n.pod("without", "data")
	without.Spec.SecurityContext.FSGroup = nil
	n.start(with, without)

	mode, _, _ := strings.Cut(n.do("with", "stat", "/data/x"), " ")
	n.want(fmt.Sprintf("%s 0 %d 1", mode, podGroup), "with", "stat", "/data/x")
	n.do("with", "write", "/data/y", "y")

	n.want("x", "without", "cat", "/data/x")
	n.refused(permissionDenied, "without", "write", "/data/x", "y")

	// Without a group the volume can be the user's.
	n.static("own", n.dir(), attribute("uid", fmt.Sprint(podUser)))
	own := n.pod("own", "own")
	own.Spec.SecurityContext.FSGroup = nil
	n.start(own)
	n.do("own", "append", "/own/x", "y")
	n.want("xy", "own", "cat", "/own/x")
}

func TestTwoIdentitiesInOnePod(t *testing.T) {
	n := newSpace(t)
	n.secret(bob, n.server.password(bob, bobPassword))
	n.static("as-alice", n.dir())
	n.static("as-bob", n.dir(), func(pv *corev1.PersistentVolume) { pv.Spec.CSI.NodePublishSecretRef.Name = bob })
	n.start(n.pod("a", "as-alice", "as-bob"))
	n.do("a", "write", "/as-alice/x", "from alice")
	n.want("from alice", "a", "cat", "/as-bob/x")
	n.refused(permissionDenied, "a", "write", "/as-bob/x", "from bob")
	n.want("from alice", "a", "cat", "/as-alice/x")
}

func TestInlineVolume(t *testing.T) {
	n := newSpace(t)
	inline := func(authURL string) corev1.VolumeSource {
		return corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
			Driver: driverName, NodePublishSecretRef: &corev1.LocalObjectReference{Name: alice}, ReadOnly: new(false),
			VolumeAttributes: map[string]string{"authURL": authURL, "path": n.dir()},
		}}
	}
	allowed, refused := n.pod("allowed"), n.pod("refused")
	addVolume(allowed, "data", inline(n.server.authURL))
	addVolume(refused, "data", inline("https://elsewhere.example.org/rest/auth/TEST"))
	n.start(allowed)
	n.do("allowed", "write", "/data/x", "x")
	if got := n.onServer("cat", n.dir("x")); got != "x" {
		t.Errorf("the server has %q", got)
	}
	n.make(refused)
	n.described("pod/refused", "EndpointNotAllowed: ", "--inline-allow")
	n.end("allowed", "refused")
}

// Twenty volumes, each a directory of its own, and so twenty mounts.
func TestTwentyVolumes(t *testing.T) {
	n := newSpace(t)
	const pods, each = 4, 5
	var all []*corev1.Pod
	for p := range pods {
		var claims []string
		for v := range each {
			name := fmt.Sprintf("v%d-%d", p, v)
			n.onServer("mkdir", n.dir(name))
			n.static(name, n.dir(name))
			claims = append(claims, name)
		}
		all = append(all, n.pod(fmt.Sprintf("p%d", p), claims...))
	}
	n.start(all...)
	for p, pod := range all {
		for v := range each {
			n.do(pod.Name, "write", fmt.Sprintf("/v%d-%d/x", p, v), fmt.Sprint(p, v))
		}
	}
	for p := range all {
		for v := range each {
			if got := n.onServer("cat", n.dir(fmt.Sprintf("v%d-%d", p, v), "x")); got != fmt.Sprint(p, v) {
				t.Errorf("volume %d of pod %d has %q", v, p, got)
			}
		}
	}
	if len(n.nodeExec) > 0 {
		mounts := 0
		for _, pod := range all {
			mounts += n.mountsOf(pod.Name)
		}
		if mounts != pods*each {
			t.Errorf("the node shows %d mounts", mounts)
		}
	}
	n.end("p0", "p1", "p2", "p3")
}

// Each new directory of the volume that a test expects on the server.
func (n *space) onServerEventually(check func(names string) error) {
	n.t.Helper()
	n.must(eventually(n.t.Context(), podTimeout, func(ctx context.Context) error {
		names, err := n.server.tool(ctx, "ls", n.dir())
		if err != nil {
			return err
		}
		return check("\n" + names + "\n")
	}))
}
