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
	} {
		if _, err := volume.ParseClass(with(tt.name, tt.value)); !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v, want an ErrInvalid with %s", tt.name, tt.value, err, tt.want)
		}
	}
}
