package pods_test

import (
	"os"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Ten pods at a time read the same large file, all of it.
func TestJobOfTen(t *testing.T) {
	n := newSpaceAlone(t)
	size := os.Getenv("E2E_DATASET")
	if size == "" {
		size = "1073741824"
	}
	want := n.onServer("fill", n.dir("big.dat"), size, "dataset")
	n.static("data", n.dir(), mode(corev1.ReadOnlyMany))
	const pods = 10
	pod := n.pod("reader", "data")
	pod.Spec.Containers[0].Args = []string{"sum", "/data/big.dat"}
	n.make(&batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "sums"},
		Spec: batchv1.JobSpec{
			Parallelism: new(int32(pods)), Completions: new(int32(pods)), BackoffLimit: new(int32(0)),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"job": "sums"}}, Spec: pod.Spec},
		},
	})
	_, err := n.kubectl(t.Context(), "-n", n.name, "wait", "job/sums", "--for=condition=Complete", "--timeout=10m")
	n.must(err)
	log, err := n.kubectl(t.Context(), "-n", n.name, "logs", "-l", "job=sums", "--tail=-1", "--max-log-requests=20")
	n.must(err)
	if got := strings.Fields(log); len(got) != pods || strings.Count(log, want) != pods {
		t.Errorf("the pods' checksums are %v, want %d times %s", got, pods, want)
	}
}
