package mounter_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestServerModes mounts with data connections that are not plain.
func TestServerModes(t *testing.T) {
	for name, attributes := range map[string]map[string]string{
		"encrypted":  {"encryption": "aes"},
		"compressed": {"compress": "true", "encryption": "blowfish"},
		"streams":    {"streams": "3"},
	} {
		t.Run(name, func(t *testing.T) {
			uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
				e := newEnv(t)
				p := e.publication("v1", "a")
				p.Spec = serverSpec(s)
				if err := volume.Apply(&p.Spec, attributes); err != nil {
					t.Fatal(err)
				}
				if err := e.manager.Publish(t.Context(), p, serverAccess(s)); err != nil {
					t.Fatal(err)
				}
				want := bytes.Repeat([]byte("some data that compresses; "), 200_000)
				name := filepath.Join(p.Target, "f")
				if err := os.WriteFile(name, want, 0o644); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(filepath.Join(s.Dir(), "f")); err != nil || !bytes.Equal(got, want) {
					t.Errorf("at the server: %d bytes, want %d, %v", len(got), len(want), err)
				}
				s.WriteFile(t, "g", want)
				if got, err := os.ReadFile(filepath.Join(p.Target, "g")); err != nil || !bytes.Equal(got, want) {
					t.Errorf("through the mount: %d bytes, want %d, %v", len(got), len(want), err)
				}
				if out := shell(t, "cd '%s' && mkdir d && mv f d/x && rm d/x && rmdir d && ls", p.Target); strings.TrimSpace(out) != "g" {
					t.Errorf("left: %q", out)
				}
				e.unpublish(p)
				for _, r := range s.AuthRequests() {
					if encrypted := attributes["encryption"] != ""; encrypted != (len(r.Key) > 0) || r.Compress != (attributes["compress"] != "") {
						t.Errorf("asked for %+v", r)
					}
				}
			})
		})
	}
}
