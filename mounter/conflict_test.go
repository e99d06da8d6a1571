package mounter

import (
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

func TestConflict(t *testing.T) {
	base := volume.Publication{VolumeID: "v", Target: "/t", Spec: volume.Default()}
	base.Spec.AuthURL, base.Spec.Path = "https://h/rest/auth/S", "/data"
	tests := []struct {
		want   string // "" is no conflict
		change func(*volume.Publication)
	}{
		{"", func(*volume.Publication) {}},
		{"volume id", func(p *volume.Publication) { p.VolumeID = "w" }},
		{"read-only setting", func(p *volume.Publication) { p.ReadOnly = true }},
		{"access mode", func(p *volume.Publication) { p.Exclusive = true }},
		{"mount group", func(p *volume.Publication) { p.Spec.FSGroupSet = true }},
		{"mount group", func(p *volume.Publication) { p.Spec.FSGroup = 7 }},
		{"authURL", func(p *volume.Publication) { p.Spec.AuthURL = "https://i/rest/auth/S" }},
		{"server", func(p *volume.Publication) { p.Spec.Server = "h:1" }},
		{"path", func(p *volume.Publication) { p.Spec.Path = "/other" }},
		{"group", func(p *volume.Publication) { p.Spec.RemoteGroup = "staff" }},
		{"clientAddress", func(p *volume.Publication) { p.Spec.ClientAddress = "10.0.0.1" }},
		{"insecureSkipVerify", func(p *volume.Publication) { p.Spec.Insecure = true }},
		{"secretName", func(p *volume.Publication) { p.Spec.SecretName = "s" }},
		{"", func(p *volume.Publication) { p.Spec.CacheSize *= 2 }},
		{"", func(p *volume.Publication) { p.Spec.AttrTimeout = time.Hour }},
		{"", func(p *volume.Publication) { p.Spec.UID, p.Spec.FileMode = 7, 0o640 }},
		{"", func(p *volume.Publication) { p.Spec.Sharing = "none" }},
	}
	for _, tt := range tests {
		p := base
		tt.change(&p)
		if got := conflict(base, p); got != tt.want {
			t.Errorf("%+v: conflict %q, want %q", p, got, tt.want)
		}
	}
	// Every attribute that decides what is shown was among them.
	for _, a := range volume.Attributes() {
		covered := a.Name == "secretNamespace" // goes with secretName
		for _, tt := range tests {
			covered = covered || tt.want == a.Name
		}
		if a.Place && !covered {
			t.Errorf("attribute %s is not tested", a.Name)
		}
	}
}
