package driver_test

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestCreateVolume(t *testing.T) {
	r := start(t)
	resp, err := r.controller.CreateVolume(t.Context(), createRequest())
	if err != nil {
		t.Fatal(err)
	}
	v := resp.GetVolume()
	if v.GetCapacityBytes() != 1<<30 {
		t.Errorf("capacity %d", v.GetCapacityBytes())
	}
	want := map[string]string{"authURL": authURL, "path": "/base/pvc-1", "uid": "1000"}
	if d := cmp.Diff(want, v.GetVolumeContext()); d != "" {
		t.Errorf("volume context (-want +got):\n%s", d)
	}
	claim := r.provisioner.made[v.GetVolumeId()].claim
	if claim.OnDelete != volume.Delete || claim.Spec.Path != "/base" || claim.Name != "pvc-1" {
		t.Errorf("claim %+v", claim)
	}

	// What was made can be published.
	if _, err := r.node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), TargetPath: r.target("t"), VolumeContext: v.GetVolumeContext(),
		VolumeCapability: mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER),
		Secrets:          map[string]string{secretKey: secretValue},
	}); err != nil {
		t.Errorf("publish: %v", err)
	}
	if p, _ := r.mounter.at(r.target("t")); p.Spec.Path != "/base/pvc-1" {
		t.Errorf("published %q", p.Spec.Path)
	}
}

func TestCreateVolumeChecksRequest(t *testing.T) {
	r := start(t)
	if _, err := r.controller.CreateVolume(t.Context(), createRequest()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*csi.CreateVolumeRequest)
		code   codes.Code
		words  []string
	}{
		{"no name", func(r *csi.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, []string{"name"}},
		{"long name", func(r *csi.CreateVolumeRequest) { r.Name = strings.Repeat("a", 129) }, codes.InvalidArgument, []string{"128"}},
		{"no capabilities", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, []string{"volume_capabilities"}},
		{"block", func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0].AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		}, codes.InvalidArgument, []string{"block"}},
		{"bad mount option", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0].GetMount().MountFlags = []string{"nope=1"} },
			codes.InvalidArgument, []string{`"nope"`}},
		{"source", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = &csi.VolumeContentSource{} }, codes.InvalidArgument, []string{"snapshot"}},
		{"attributes class", func(r *csi.CreateVolumeRequest) { r.MutableParameters = map[string]string{"a": "b"} }, codes.InvalidArgument, []string{"mutable_parameters"}},
		{"sizes crossed", func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 2, LimitBytes: 1}
		}, codes.OutOfRange, nil},
		{"negative size", func(r *csi.CreateVolumeRequest) { r.CapacityRange = &csi.CapacityRange{RequiredBytes: -2} }, codes.OutOfRange, nil},
		{"no parameters", func(r *csi.CreateVolumeRequest) { r.Parameters = nil }, codes.InvalidArgument, []string{"authURL"}},
		{"unknown parameter", func(r *csi.CreateVolumeRequest) { r.Parameters["onDelet"] = "x" }, codes.InvalidArgument, []string{`"onDelete"`}},
		{"server", func(r *csi.CreateVolumeRequest) { r.Parameters = map[string]string{"server": "h:21"} }, codes.InvalidArgument, []string{"authURL"}},
		{"no secrets", func(r *csi.CreateVolumeRequest) { r.Secrets = nil }, codes.InvalidArgument, []string{"SecretInvalid: "}},
		{"another size", func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes *= 2 }, codes.AlreadyExists, []string{"Conflict: "}},
		{"other parameters", func(r *csi.CreateVolumeRequest) { r.Parameters["uid"] = "1" }, codes.AlreadyExists, []string{"Conflict: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := createRequest()
			tt.change(req)
			_, err := r.controller.CreateVolume(t.Context(), req)
			wantStatus(t, err, tt.code, tt.words...)
		})
	}
}

func TestDeleteVolume(t *testing.T) {
	r := start(t)
	resp, err := r.controller.CreateVolume(t.Context(), createRequest())
	if err != nil {
		t.Fatal(err)
	}
	id, secrets := resp.GetVolume().GetVolumeId(), map[string]string{secretKey: secretValue}
	_, err = r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	wantStatus(t, err, codes.InvalidArgument, "SecretInvalid: ")
	_, err = r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{Secrets: secrets})
	wantStatus(t, err, codes.InvalidArgument, "volume_id")
	for range 2 {
		if _, err := r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id, Secrets: secrets}); err != nil {
			t.Error(err)
		}
	}
	// Not ours: nothing to do, and no secrets needed.
	if _, err := r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "some-static-handle"}); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"delete " + id, "delete " + id}, r.provisioner.calls); d != "" {
		t.Errorf("provisioner calls (-want +got):\n%s", d)
	}
}

func TestExpandVolume(t *testing.T) {
	r := start(t)
	resp, err := r.controller.CreateVolume(t.Context(), createRequest())
	if err != nil {
		t.Fatal(err)
	}
	id, secrets := resp.GetVolume().GetVolumeId(), map[string]string{secretKey: secretValue}
	for _, tt := range []struct {
		name            string
		required, limit int64
		want            int64
		code            codes.Code
	}{
		{"larger", 2 << 30, 0, 2 << 30, codes.OK},
		{"again", 2 << 30, 0, 2 << 30, codes.OK},
		{"smaller is there already", 1 << 30, 0, 2 << 30, codes.OK},
		{"limit below what it has", 1, 1 << 30, 0, codes.OutOfRange},
		{"crossed", 2, 1, 0, codes.OutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := r.controller.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
				VolumeId: id, Secrets: secrets, CapacityRange: &csi.CapacityRange{RequiredBytes: tt.required, LimitBytes: tt.limit}})
			wantStatus(t, err, tt.code)
			if resp.GetCapacityBytes() != tt.want || resp.GetNodeExpansionRequired() {
				t.Errorf("got %v, want %d bytes and nothing to do on the node", resp, tt.want)
			}
		})
	}
	_, err = r.controller.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id})
	wantStatus(t, err, codes.InvalidArgument, "capacity_range")
	for _, id := range []string{"static", "fake:gone"} {
		_, err = r.controller.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
			VolumeId: id, Secrets: secrets, CapacityRange: &csi.CapacityRange{RequiredBytes: 1}})
		wantStatus(t, err, codes.NotFound, "VolumeNotFound: ")
	}
}

func TestValidateVolumeCapabilities(t *testing.T) {
	r := start(t)
	resp, err := r.controller.CreateVolume(t.Context(), createRequest())
	if err != nil {
		t.Fatal(err)
	}
	const rwx = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	block := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: rwx}, AccessType: &csi.VolumeCapability_Block{}}
	for _, tt := range []struct {
		name       string
		id         string
		capability *csi.VolumeCapability
		code       codes.Code
		confirmed  bool
	}{
		{"good", resp.GetVolume().GetVolumeId(), mountCapability(rwx), codes.OK, true},
		{"block", resp.GetVolume().GetVolumeId(), block, codes.OK, false},
		{"bad option", resp.GetVolume().GetVolumeId(), mountCapability(rwx, "x"), codes.OK, false},
		{"not ours", "static", mountCapability(rwx), codes.NotFound, false},
		{"gone", "fake:gone", mountCapability(rwx), codes.NotFound, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := r.controller.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: tt.id, VolumeCapabilities: []*csi.VolumeCapability{tt.capability}, Secrets: map[string]string{secretKey: secretValue}})
			wantStatus(t, err, tt.code)
			if got := resp.GetConfirmed() != nil; got != tt.confirmed {
				t.Errorf("confirmed %v, want %v: %s", got, tt.confirmed, resp.GetMessage())
			}
			if tt.confirmed && len(resp.GetConfirmed().GetVolumeCapabilities()) != 1 {
				t.Error("confirmed without capabilities")
			}
			if err == nil && !tt.confirmed && resp.GetMessage() == "" {
				t.Error("refused without a message")
			}
		})
	}
}

func TestControllerErrorsAreMapped(t *testing.T) {
	r := start(t)
	r.provisioner.err = uftp.ErrBusy
	_, err := r.controller.CreateVolume(t.Context(), createRequest())
	wantStatus(t, err, codes.ResourceExhausted, "TooManySessions: ")
}
