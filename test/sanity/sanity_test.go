package sanity_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"go.yaml.in/yaml/v3"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestSanity runs csi-sanity, CSI's conformance tests, with real mounts. What it
// skips is in docs/CSI-SANITY.md.
func TestSanity(t *testing.T) {
	n := start(t, uftptest.Config{})
	var s sanity.CSISecrets
	s.CreateVolumeSecret, s.DeleteVolumeSecret = n.secret(), n.secret()
	s.ControllerValidateVolumeCapabilitiesSecret, s.ControllerExpandVolumeSecret = n.secret(), n.secret()
	s.NodePublishVolumeSecret = n.secret()
	data, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cfg := sanity.NewTestConfig()
	cfg.SecretsFile = filepath.Join(n.dir, "secrets.yaml")
	if err := os.WriteFile(cfg.SecretsFile, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Address = n.endpoint
	cfg.TargetPath, cfg.StagingPath = filepath.Join(n.dir, "target"), filepath.Join(n.dir, "staging")
	cfg.TestVolumeParameters = n.createRequest().GetParameters()
	cfg.TestVolumeSize = 1 << 30
	cfg.IdempotentCount = 10
	sanity.Test(t, cfg)

	left, err := os.ReadDir(filepath.Join(n.base, ".csi-uftp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left on the server: %v, %v", left, err)
	}
	if left, err := os.ReadDir(n.base); err != nil || len(left) != 1 {
		t.Errorf("left on the server: %v, %v", left, err)
	}
}
