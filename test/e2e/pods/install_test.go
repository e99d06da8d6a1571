package pods_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Paths of the repository.
const (
	repository = "../../.."
	deploy     = repository + "/deploy/kubernetes"
)

const (
	productImage = "csi-uftp:latest"
	podtoolImage = "e2e.local/podtool:1"
)

// Namespaces. The driver's are the manifests'.
const (
	serverNamespace = "e2e-server"
	driverNamespace = "csi-uftp"
	nodeNamespace   = "csi-uftp-node"
)

// testLabel is on everything that the tests make outside of namespaces.
const testLabel = "csi-uftp-e2e"

// loadImages builds the product's image and the test pods', and gives them to the
// nodes.
func (c cluster) loadImages(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "csi-uftp-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, image := range []struct{ name, ref, source, dockerfile string }{
		{"csi-uftp", productImage, "./cmd/csi-uftp", "Dockerfile"},
		{"podtool", podtoolImage, "./test/e2e/cluster/podtool", "test/e2e/cluster/images/podtool.Dockerfile"},
	} {
		binary, tar := filepath.Join(dir, image.name), filepath.Join(dir, image.name+".tar")
		for _, argv := range [][]string{
			{"env", "-C", repository, "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, image.source},
			{"env", "-C", repository, "go", "run", "./test/ocitar", "-file", image.dockerfile, "-ref", image.ref, "-out", tar,
				"/csi-uftp=" + binary, "podtool=" + binary},
			append(c.load, tar),
		} {
			if _, err := command(ctx, nil, argv...); err != nil {
				return err
			}
		}
	}
	return nil
}

// install applies the overlay, with inline volumes allowed for the server.
func (c cluster) install(ctx context.Context, s *server) error {
	dir, err := c.ownOverlay(s)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := c.kubectl(ctx, "apply", "-k", dir); err != nil {
		return err
	}
	return c.rolledOut(ctx)
}

// rolledOut waits until every pod of the driver is ready.
func (c cluster) rolledOut(ctx context.Context) error {
	for _, workload := range [][2]string{
		{nodeNamespace, "daemonset/csi-uftp-node"}, {driverNamespace, "daemonset/csi-uftp-mount"}, {driverNamespace, "deployment/csi-uftp-controller"},
	} {
		if _, err := c.kubectl(ctx, "-n", workload[0], "rollout", "status", workload[1], "--timeout=3m"); err != nil {
			pods, _ := c.kubectl(ctx, "-n", workload[0], "describe", "pods")
			return errors.Join(err, errors.New(pods))
		}
	}
	return nil
}

// ownOverlay makes the directory that docs/INSTALL.md tells administrators to
// make: the overlay, and components/inline with their own server in it.
func (c cluster) ownOverlay(s *server) (string, error) {
	root, err := filepath.Abs(deploy)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(root, "e2e-overlay-") // kustomize wants relative paths
	if err != nil {
		return "", err
	}
	component, err := os.ReadFile(filepath.Join(root, "components/inline/kustomization.yaml"))
	if err != nil {
		return dir, err
	}
	const example = "https://uftp.example.org:9000/rest/auth/"
	if !strings.Contains(string(component), example) {
		return dir, errors.New("components/inline does not have the example's URL")
	}
	component = []byte(strings.ReplaceAll(string(component), example, s.authURL))
	if err := os.Mkdir(filepath.Join(dir, "inline"), 0o755); err != nil {
		return dir, err
	}
	if err := os.WriteFile(filepath.Join(dir, "inline/kustomization.yaml"), component, 0o644); err != nil {
		return dir, err
	}
	return dir, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/`+c.overlay+`]
components: [inline]
`), 0o644)
}

// removeTests removes what the tests made, volumes before the driver.
func (c cluster) removeTests(ctx context.Context) error {
	// Pods and claims end first, so that the driver unmounts and removes volumes.
	for _, kinds := range []string{"pods,jobs", "persistentvolumeclaims"} {
		namespaces, err := c.kubectl(ctx, "get", "namespaces", "-l", testLabel, "-o", "jsonpath={.items[*].metadata.name}")
		if err != nil {
			return err
		}
		for ns := range strings.FieldsSeq(namespaces) {
			if ns == serverNamespace {
				continue // it is needed until the volumes are gone
			}
			if _, err := c.kubectl(ctx, "-n", ns, "delete", kinds, "--all", "--timeout=2m"); err != nil {
				return err
			}
		}
	}
	_, err := c.kubectl(ctx, "delete", "persistentvolumes,storageclasses,namespaces", "-l", testLabel, "--timeout=2m")
	return err
}

func (c cluster) uninstall(ctx context.Context) error {
	_, err := c.kubectl(ctx, "delete", "-k", filepath.Join(deploy, "overlays", c.overlay), "--ignore-not-found", "--timeout=3m")
	return err
}
