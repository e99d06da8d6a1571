package driver_test

import (
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
)

// TestSanity runs csi-sanity, CSI's conformance tests, on a real socket with
// fakes behind the driver, so that it runs everywhere. test/sanity runs it with
// real mounts. What it skips is in docs/CSI-SANITY.md.
func TestSanity(t *testing.T) {
	r := start(t)
	cfg := sanity.NewTestConfig()
	cfg.Address = r.endpoint
	cfg.TargetPath, cfg.StagingPath = filepath.Join(r.dir, "target"), filepath.Join(r.dir, "staging")
	cfg.SecretsFile = filepath.Join("testdata", "sanity-secrets.yaml")
	cfg.TestVolumeParametersFile = filepath.Join("testdata", "sanity-parameters.yaml")
	cfg.TestVolumeSize = 1 << 30
	cfg.IdempotentCount = 10
	sanity.Test(t, cfg)
	if len(r.mounter.published) != 0 || len(r.provisioner.made) != 0 {
		t.Errorf("left behind: %v, %v", r.mounter.published, r.provisioner.made)
	}
}
