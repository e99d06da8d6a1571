package kubernetes_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kustomize renders a directory as kubectl apply -k would.
func kustomize(t *testing.T, dir string) string {
	t.Helper()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v\n%s", dir, err, out)
	}
	return string(out)
}

// overlay renders the base with components.
func overlay(t *testing.T, components ...string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [" + relative + "/base]\ncomponents:\n"
	for _, c := range components {
		text += "- " + relative + "/components/" + c + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kustomize(t, dir)
}

func TestKustomizeBase(t *testing.T) {
	base := kustomize(t, "base")
	for text, want := range map[string]bool{
		"image: csi-uftp:": true, "Ephemeral": false, "--inline-allow": false, "policyTypes:\n  - Ingress\n---": false,
	} {
		if strings.Contains(base, text) != want {
			t.Errorf("the base contains %q: %v", text, !want)
		}
	}
}

func TestKustomizeComponents(t *testing.T) {
	all := overlay(t, "secret-references", "inline", "cache")
	for _, text := range []string{"volumeLifecycleModes:\n  - Persistent\n  - Ephemeral\n", "- --inline-allow=https://", "policyTypes:\n  - Ingress\n---",
		"- --cache-dir=/var/cache/csi-uftp\n", "- --cache-dir-size=10Gi\n", "- mountPath: /var/cache/csi-uftp\n"} {
		if !strings.Contains(all, text) {
			t.Errorf("an overlay with all components lacks %q:\n%s", text, all)
		}
	}
}

// TestOverlays checks that what is for clusters without a registry pulls nothing,
// and that kind's sidecars are upstream's.
func TestOverlays(t *testing.T) {
	for dir, registry := range map[string]string{"overlays/local": "e2e.local/", "overlays/kind": "registry.k8s.io/"} {
		for line := range strings.Lines(kustomize(t, dir)) {
			image, ok := strings.CutPrefix(strings.TrimSpace(line), "image: ")
			if ok && !strings.HasPrefix(image, registry) && !strings.HasPrefix(image, ourImage+":") {
				t.Errorf("%s has the image %s", dir, image)
			}
		}
	}
}

// TestKubeletDirectory makes sure that what docs/INSTALL.md says about another
// directory of the kubelet is all there is to do: no other path leads there.
func TestKubeletDirectory(t *testing.T) {
	moved := strings.ReplaceAll(kustomize(t, "base"), "/var/lib/kubelet", "/var/lib/k0s/kubelet")
	if strings.Count(moved, "kubelet/plugins/"+driverName) != strings.Count(moved, "/var/lib/k0s/kubelet/plugins/"+driverName) {
		t.Error("the plugin's directory is written in two ways")
	}
	for _, want := range []string{"--kubelet-dir=/var/lib/k0s/kubelet\n", "mountPath: /var/lib/k0s/kubelet\n", "path: /var/lib/k0s/kubelet\n",
		"path: /var/lib/k0s/kubelet/plugins_registry\n", "--keeper-socket=/var/lib/k0s/kubelet/pods/"} {
		if !strings.Contains(moved, want) {
			t.Errorf("after the replacement there is no %q", want)
		}
	}
}
