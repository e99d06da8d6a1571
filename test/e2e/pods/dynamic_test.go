package pods_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// class makes a StorageClass for the test's directory and returns its name. The
// Secret by which directories are made is where the shipped rights let it be.
func (n *space) class(change map[string]string) string {
	n.t.Helper()
	parameters := map[string]string{
		"authURL": n.server.authURL, "path": n.dir(), "directory": "${pvc.namespace}-${pvc.name}", "directoryMode": "2770",
		"csi.storage.k8s.io/provisioner-secret-name": n.name, "csi.storage.k8s.io/provisioner-secret-namespace": driverNamespace,
		"csi.storage.k8s.io/controller-expand-secret-name": n.name, "csi.storage.k8s.io/controller-expand-secret-namespace": driverNamespace,
		"csi.storage.k8s.io/node-publish-secret-name": alice, "csi.storage.k8s.io/node-publish-secret-namespace": "${pvc.namespace}",
	}
	maps.Copy(parameters, change)
	n.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: driverNamespace, Name: n.name}, StringData: n.server.password(alice, alicePassword)},
		classObject(n.name, parameters))
	return n.name
}

// claim makes a claim of the class.
func (n *space) claim(name, class string) {
	n.t.Helper()
	n.make(claimObject(n.name, name, class, "", corev1.ReadWriteMany))
}

// unclaim deletes a claim, and waits until its volume is gone.
func (n *space) unclaim(name string) {
	n.t.Helper()
	volume, err := n.kubectl(n.t.Context(), "-n", n.name, "get", "pvc", name, "-o", "jsonpath={.spec.volumeName}")
	n.must(err)
	_, err = n.kubectl(n.t.Context(), "-n", n.name, "delete", "pvc", name, "--timeout="+podTimeout.String())
	n.must(err)
	n.must(eventually(n.t.Context(), podTimeout, func(ctx context.Context) error {
		out, err := n.kubectl(ctx, "get", "pv", volume, "--ignore-not-found", "-o", "name")
		if err == nil && out != "" {
			err = errStill
		}
		return err
	}))
}

func TestDynamicVolume(t *testing.T) {
	run(t)
	for policy, check := range map[string]func(names, directory string) error{
		"delete": func(names, directory string) error {
			if strings.Contains(names, directory) {
				return fmt.Errorf("the directory is still there: %s", names)
			}
			return nil
		},
		"retain": func(names, directory string) error {
			if !strings.Contains(names, "\n"+directory+"\n") {
				return fmt.Errorf("the directory is gone: %s", names)
			}
			return nil
		},
		"archive": func(names, directory string) error {
			if strings.Contains(names, "\n"+directory+"\n") || !strings.Contains(names, "\narchived-"+directory+"\n") {
				return fmt.Errorf("the directory is not archived: %s", names)
			}
			return nil
		},
	} {
		t.Run(policy, func(t *testing.T) {
			n := newSpace(t)
			n.claim("data", n.class(map[string]string{"onDelete": policy}))
			n.start(n.pod("a", "data"))
			n.do("a", "write", "/data/x", "x")
			directory := n.name + "-data"
			if got := n.onServer("cat", n.dir(directory, "x")); got != "x" {
				t.Errorf("the server has %q", got)
			}
			if got := n.onServer("stat", n.dir(directory)); !strings.HasPrefix(got, "0770 ") {
				t.Errorf("the directory is %q", got)
			}
			n.end("a")
			n.unclaim("data")
			n.onServerEventually(func(names string) error { return check(names, directory) })
		})
	}
}

// The driver neither takes over nor removes a directory that it did not make.
func TestDynamicVolumeInTheWay(t *testing.T) {
	n := newSpace(t)
	n.onServer("mkdir", n.dir(n.name+"-data"))
	n.onServer("write", n.dir(n.name+"-data", "x"), "somebody else's")
	n.claim("data", n.class(map[string]string{"onDelete": "delete"}))
	n.described("pvc/data", "Conflict: ", "this driver did not make it")
	_, err := n.kubectl(t.Context(), "-n", n.name, "delete", "pvc", "data", "--timeout="+podTimeout.String())
	n.must(err)
	if got := n.onServer("cat", n.dir(n.name+"-data", "x")); got != "somebody else's" {
		t.Errorf("the server has %q", got)
	}
}

func TestExpand(t *testing.T) {
	n := newSpace(t)
	n.claim("data", n.class(map[string]string{"onDelete": "delete"}))
	n.start(n.pod("a", "data"))
	_, err := n.kubectl(t.Context(), "-n", n.name, "patch", "pvc", "data", "-p", `{"spec": {"resources": {"requests": {"storage": "5Gi"}}}}`)
	n.must(err)
	n.must(eventually(t.Context(), podTimeout, func(ctx context.Context) error {
		out, err := n.kubectl(ctx, "-n", n.name, "get", "pvc", "data", "-o", "jsonpath={.status.capacity.storage}")
		if err == nil && out != "5Gi" {
			err = fmt.Errorf("the claim has %s", out)
		}
		return err
	}))
}

// One class, two namespaces, each with a Secret of its own.
func TestSecretPerNamespace(t *testing.T) {
	run(t)
	for _, who := range []string{alice, bob} {
		t.Run(who, func(t *testing.T) {
			n := newSpace(t)
			name := "mine"
			if who == alice {
				n.secret(name, n.server.password(alice, alicePassword))
			} else {
				n.secret(name, n.server.password(bob, bobPassword))
			}
			n.claim("data", n.class(map[string]string{
				"csi.storage.k8s.io/node-publish-secret-name": name, "onDelete": "delete", "directoryMode": "2775", // bob is another Unix user
			}))
			n.start(n.pod("a", "data"))
			if who == alice {
				n.do("a", "write", "/data/x", "x")
			} else {
				n.refused(permissionDenied, "a", "write", "/data/x", "x")
			}
		})
	}
}
