package driver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// TestSanity runs csi-sanity, CSI's conformance tests, on a real socket with
// fakes behind the driver, so that it runs everywhere. test/sanity runs it with
// real mounts.
func TestSanity(t *testing.T) {
	r := start(t)
	cfg := sanity.NewTestConfig()
	cfg.Address = r.endpoint
	cfg.TargetPath, cfg.StagingPath = filepath.Join(r.dir, "target"), filepath.Join(r.dir, "staging")
	cfg.SecretsFile = filepath.Join("testdata", "sanity-secrets.yaml")
	cfg.TestVolumeParametersFile = filepath.Join("testdata", "sanity-parameters.yaml")
	cfg.TestVolumeSize = 1 << 30
	cfg.IdempotentCount = 10
	skipped := map[string]int{}
	ginkgo.ReportAfterEach(func(s types.SpecReport) {
		if s.State == types.SpecStateSkipped {
			skipped[s.Failure.Message]++
		}
	})
	sanity.Test(t, cfg)
	if len(r.mounter.published) != 0 || len(r.provisioner.made) != 0 {
		t.Errorf("left behind: %v, %v", r.mounter.published, r.provisioner.made)
	}
	if d := cmp.Diff(documentedSkips(t), skipped); d != "" {
		t.Errorf("skipped tests (-docs/CSI-SANITY.md +now):\n%s", d)
	}
}

// documentedSkips reads how many tests docs/CSI-SANITY.md says are skipped for
// which reason.
func documentedSkips(t *testing.T) map[string]int {
	t.Helper()
	data, err := os.ReadFile("../docs/CSI-SANITY.md")
	if err != nil {
		t.Fatal(err)
	}
	skips := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \| (\d+) \|`).FindAllStringSubmatch(string(data), -1) {
		var n int
		if _, err := fmt.Sscan(m[2], &n); err != nil {
			t.Fatal(err)
		}
		skips[m[1]] = n
	}
	return skips
}
