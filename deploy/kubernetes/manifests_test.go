package kubernetes_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	driverName = "uftp.csi.unicore.eu"
	ourImage   = "csi-uftp"
)

// decode reads every object of a YAML file, strictly: unknown and repeated
// fields are errors, as a typing mistake in a manifest should be.
func decode(t *testing.T, file string) []runtime.Object {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	defer documents.Close()
	var objects []runtime.Object
	for {
		buf := make([]byte, len(data)+1)
		n, err := documents.Read(buf)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		obj, _, err := decoder.Decode(buf[:n], nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		objects = append(objects, obj)
	}
}

// base returns the objects that the base's kustomization.yaml lists.
func base(t *testing.T) []runtime.Object {
	t.Helper()
	var k struct{ Resources []string }
	data, err := os.ReadFile("base/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &k); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("base/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(k.Resources)+1 {
		t.Errorf("kustomization.yaml lists %v, the directory has %v", k.Resources, files)
	}
	var objects []runtime.Object
	for _, file := range k.Resources {
		objects = append(objects, decode(t, filepath.Join("base", file))...)
	}
	return objects
}

// workload is a pod template of one of our three parts.
type workload struct {
	name, namespace string
	pod             corev1.PodSpec
}

func workloads(t *testing.T) map[string]workload {
	t.Helper()
	found := make(map[string]workload)
	for _, obj := range base(t) {
		switch o := obj.(type) {
		case *appsv1.DaemonSet:
			found[o.Name] = workload{o.Name, o.Namespace, o.Spec.Template.Spec}
		case *appsv1.Deployment:
			found[o.Name] = workload{o.Name, o.Namespace, o.Spec.Template.Spec}
		}
	}
	for _, name := range []string{"csi-uftp-node", "csi-uftp-mount", "csi-uftp-controller"} {
		if _, ok := found[name]; !ok {
			t.Fatalf("there is no %s", name)
		}
	}
	return found
}

// argument returns the value of --name= in a container's arguments.
func argument(t *testing.T, c corev1.Container, name string) string {
	t.Helper()
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	t.Fatalf("container %s has no --%s", c.Name, name)
	return ""
}

func container(t *testing.T, w workload, name string) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(w.pod.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("%s has no container %s", w.name, name)
	}
	return w.pod.Containers[i]
}

func TestExamplesAndComponentsDecode(t *testing.T) {
	for _, pattern := range []string{"examples/*.yaml", "components/*/role*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, file := range files {
			for _, obj := range decode(t, file) {
				if accessor, err := meta.Accessor(obj); err != nil || accessor.GetName() == "" {
					t.Errorf("%s: an object without a name (%v)", file, err)
				}
			}
		}
	}
}

func TestExamplesNameTheDriver(t *testing.T) {
	for _, file := range []string{"examples/static.yaml", "examples/dynamic.yaml"} {
		for _, obj := range decode(t, file) {
			switch o := obj.(type) {
			case *corev1.PersistentVolume:
				if o.Spec.CSI.Driver != driverName {
					t.Errorf("%s: driver %q", file, o.Spec.CSI.Driver)
				}
			case *storagev1.StorageClass:
				if o.Provisioner != driverName {
					t.Errorf("%s: provisioner %q", file, o.Provisioner)
				}
			}
		}
	}
}

func TestCSIDriver(t *testing.T) {
	for _, obj := range base(t) {
		d, ok := obj.(*storagev1.CSIDriver)
		if !ok {
			continue
		}
		s := d.Spec
		if d.Name != driverName || *s.AttachRequired || !*s.PodInfoOnMount || !*s.RequiresRepublish ||
			*s.FSGroupPolicy != storagev1.NoneFSGroupPolicy {
			t.Errorf("unexpected CSIDriver: %+v", d)
		}
		return
	}
	t.Fatal("there is no CSIDriver")
}

func TestOnePrivilegedContainer(t *testing.T) {
	var privileged []string
	for _, w := range workloads(t) {
		if w.pod.HostNetwork || w.pod.HostPID || w.pod.HostIPC {
			t.Errorf("%s shares a namespace of the host", w.name)
		}
		for _, c := range append(w.pod.InitContainers, w.pod.Containers...) {
			s := c.SecurityContext
			if s.Privileged != nil && *s.Privileged {
				privileged = append(privileged, w.name+"/"+c.Name)
				continue
			}
			if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0 {
				t.Errorf("%s/%s keeps capabilities", w.name, c.Name)
			}
		}
	}
	if want := []string{"csi-uftp-node/node"}; !slices.Equal(privileged, want) {
		t.Errorf("privileged: %v, want %v", privileged, want)
	}
}

// TestRestricted checks by hand what Pod Security "restricted" demands, of every
// pod in the namespace that enforces it.
func TestRestricted(t *testing.T) {
	for _, w := range workloads(t) {
		if w.namespace != "csi-uftp" {
			continue
		}
		s := w.pod.SecurityContext
		if !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod security context %+v", w.name, s)
		}
		for _, v := range w.pod.Volumes {
			if v.EmptyDir == nil {
				t.Errorf("%s: volume %s is not an emptyDir", w.name, v.Name)
			}
		}
	}
}

func TestNamespaceLabels(t *testing.T) {
	want := map[string]string{"csi-uftp-node": "privileged", "csi-uftp": "restricted"}
	for _, obj := range base(t) {
		if ns, ok := obj.(*corev1.Namespace); ok {
			if got := ns.Labels["pod-security.kubernetes.io/enforce"]; got != want[ns.Name] {
				t.Errorf("namespace %s enforces %q, want %q", ns.Name, got, want[ns.Name])
			}
			delete(want, ns.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing namespaces: %v", want)
	}
}

func TestEveryContainer(t *testing.T) {
	versions := make(map[string]string)
	for _, w := range workloads(t) {
		if w.pod.PriorityClassName == "" || len(w.pod.Tolerations) == 0 {
			t.Errorf("%s has no priority class or no tolerations", w.name)
		}
		for _, c := range w.pod.Containers {
			name, version, _ := strings.Cut(path.Base(c.Image), ":")
			if seen, ok := versions[name]; ok && seen != version {
				t.Errorf("image %s in two versions: %s and %s", name, seen, version)
			}
			versions[name] = version
			if name != ourImage && version == "" {
				t.Errorf("%s/%s: image %s has no version", w.name, c.Name, c.Image)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s/%s requests no resources", w.name, c.Name)
			}
			if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s/%s can write to its root file system", w.name, c.Name)
			}
			if name == ourImage && c.LivenessProbe == nil {
				t.Errorf("%s/%s has no liveness probe", w.name, c.Name)
			}
		}
	}
}

// TestSocketsAgree checks what must be equal in two places: the keeper's socket
// as the node finds it and as the keeper makes it, and the driver's as the
// kubelet is told it and as it is mounted.
func TestSocketsAgree(t *testing.T) {
	all := workloads(t)
	node, keeper := container(t, all["csi-uftp-node"], "node"), container(t, all["csi-uftp-mount"], "keeper")

	socket := argument(t, keeper, "socket")
	i := slices.IndexFunc(keeper.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path.Dir(socket) })
	if i < 0 {
		t.Fatalf("the keeper's socket %s is not in a volume", socket)
	}
	want := path.Join(argument(t, node, "kubelet-dir"), "pods/*/volumes/kubernetes.io~empty-dir", keeper.VolumeMounts[i].Name, path.Base(socket))
	if got := argument(t, node, "keeper-socket"); got != want {
		t.Errorf("--keeper-socket=%s, want %s", got, want)
	}
	if got := argument(t, node, "keeper-namespace"); got != all["csi-uftp-mount"].namespace {
		t.Errorf("--keeper-namespace=%s, but the keeper is in %s", got, all["csi-uftp-mount"].namespace)
	}
	for _, probe := range []*corev1.Probe{keeper.LivenessProbe, keeper.ReadinessProbe} {
		if !slices.Contains(probe.Exec.Command, "--socket="+socket) {
			t.Errorf("the keeper's probe asks another socket: %v", probe.Exec.Command)
		}
	}

	registrar := container(t, all["csi-uftp-node"], "node-driver-registrar")
	registration := argument(t, registrar, "kubelet-registration-path")
	for _, v := range all["csi-uftp-node"].pod.Volumes {
		if v.Name == "plugin" && path.Join(v.HostPath.Path, "csi.sock") != registration {
			t.Errorf("the plugin's directory is %s, the kubelet is told %s", v.HostPath.Path, registration)
		}
	}
	if !strings.Contains(registration, "/"+driverName+"/") {
		t.Errorf("registration path %s is not the driver's", registration)
	}
}

func TestRights(t *testing.T) {
	for _, obj := range base(t) {
		var rules []rbacv1.PolicyRule
		clusterWide := false
		switch o := obj.(type) {
		case *rbacv1.ClusterRole:
			rules, clusterWide = o.Rules, true
		case *rbacv1.Role:
			rules = o.Rules
		case *corev1.ServiceAccount:
			if o.AutomountServiceAccountToken == nil || *o.AutomountServiceAccountToken {
				t.Errorf("ServiceAccount %s mounts its token everywhere", o.Name)
			}
		}
		for _, rule := range rules {
			if clusterWide && slices.Contains(rule.Resources, "secrets") {
				t.Error("Secrets of all namespaces can be read")
			}
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") {
				t.Errorf("a rule has a wildcard: %+v", rule)
			}
		}
	}
	for name, w := range workloads(t) {
		if token := *w.pod.AutomountServiceAccountToken; token != (name == "csi-uftp-controller") {
			t.Errorf("%s: automountServiceAccountToken is %v", name, token)
		}
	}
}
