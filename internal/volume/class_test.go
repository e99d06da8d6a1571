package volume_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

func TestParseClass(t *testing.T) {
	parameters := with("path", "/base", "onDelete", "archive", "csi.storage.k8s.io/pvc/name", "c")
	got, err := volume.ParseClass(parameters)
	if err != nil {
		t.Fatal(err)
	}
	if got.OnDelete != volume.Archive || got.Spec.Path != "/base" {
		t.Errorf("got %+v", got)
	}
	if d := cmp.Diff(with("path", "/base"), got.Attributes); d != "" {
		t.Errorf("attributes to hand on (-want +got):\n%s", d)
	}
	if len(parameters) != 4 {
		t.Errorf("the caller's map was changed: %v", parameters)
	}

	if got, err := volume.ParseClass(with()); err != nil || got.OnDelete != volume.Retain {
		t.Errorf("without onDelete: %q, %v; want retain", got.OnDelete, err)
	}
	for _, tt := range []struct{ name, value, want string }{
		{"onDelete", "purge", "retain, delete, archive"},
		{"ondelete", "delete", `"onDelete"`},
		{"cachSize", "1Gi", `"cacheSize"`},
		{"directory", "${pvc.uid}", "${pvc.namespace}, ${pvc.name}, ${pv.name}"},
		{"directory", "${pvc.name", "without its }"},
		{"directory", "${pvc.name}", "--extra-create-metadata"},
		{"directory", "a/b", "one directory"},
		{"directorymode", "0770", `"directoryMode"`},
		{"directoryMode", "0770x", "octal"},
		{"directoryMode", "0077", "owner"},
	} {
		if _, err := volume.ParseClass(with(tt.name, tt.value)); !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v, want an ErrInvalid with %s", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestParseClassDirectory(t *testing.T) {
	claim := []string{"csi.storage.k8s.io/pvc/name", "data", "csi.storage.k8s.io/pvc/namespace", "physics", "csi.storage.k8s.io/pv/name", "pvc-1"}
	for template, want := range map[string]string{
		"": "", "${pvc.namespace}-${pvc.name}": "physics-data", "${pv.name}": "pvc-1", "all of ${pvc.namespace}": "all of physics", "$x}": "$x}",
	} {
		got, err := volume.ParseClass(with(append(claim, "path", "/base", "directory", template, "directoryMode", "2770")...))
		if err != nil || got.Directory != want || got.DirectoryMode != 0o2770 {
			t.Errorf("directory %q gives %q, mode %o (%v), want %q", template, got.Directory, got.DirectoryMode, err, want)
		}
		if d := cmp.Diff(with("path", "/base"), got.Attributes); d != "" {
			t.Errorf("attributes to hand on (-want +got):\n%s", d)
		}
	}
}
