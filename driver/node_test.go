package driver_test

import (
	"fmt"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestPublishChecksRequest(t *testing.T) {
	r := start(t)
	const rwx = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	for _, tt := range []struct {
		name   string
		change func(*csi.NodePublishVolumeRequest)
		code   codes.Code
		words  []string
	}{
		{"no volume id", func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "" }, codes.InvalidArgument, []string{"InvalidRequest: ", "volume_id"}},
		{"no target", func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "" }, codes.InvalidArgument, []string{"target_path"}},
		{"relative target", func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "a/b" }, codes.InvalidArgument, []string{"target_path"}},
		{"no capability", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = nil }, codes.InvalidArgument, []string{"volume_capability"}},
		{"no access type", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.AccessType = nil }, codes.InvalidArgument, []string{"access type"}},
		{"no access mode", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.AccessMode = nil }, codes.InvalidArgument, []string{"access mode"}},
		{"unknown access mode", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.AccessMode.Mode = 99 }, codes.FailedPrecondition, []string{"Unsupported: ", "99"}},
		{"block", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		}, codes.FailedPrecondition, []string{"Unsupported: ", "volumeMode: Filesystem"}},
		{"inline", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["csi.storage.k8s.io/ephemeral"] = "true" },
			codes.InvalidArgument, []string{"InlineNotEnabled: "}},
		{"no attributes", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext = nil }, codes.InvalidArgument, []string{"InvalidAttribute: ", "authURL"}},
		{"unknown attribute", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["cachSize"] = "1" }, codes.InvalidArgument, []string{`"cacheSize"`}},
		{"server", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext = map[string]string{"server": "h:21"} },
			codes.InvalidArgument, []string{"server", "authURL"}},
		{"unknown mount flag", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = mountCapability(rwx, "chacheSize=1Gi") },
			codes.InvalidArgument, []string{"mount option", `"chacheSize"`, `"cacheSize"`}},
		{"bad mount flag", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = mountCapability(rwx, "uid=me") },
			codes.InvalidArgument, []string{"mount option", "uid", `"me"`}},
		{"mount flag without value", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = mountCapability(rwx, "uid") },
			codes.InvalidArgument, []string{"uid", "no value"}},
		{"mount flag for the place", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = mountCapability(rwx, "path=/etc") },
			codes.InvalidArgument, []string{"path", "attributes"}},
		{"mount flag against attributes", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability = mountCapability(rwx, "cacheSize=1Mi", "blockSize=2Mi")
		}, codes.InvalidArgument, []string{"blockSize", "cacheSize"}},
		{"bad mount group", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().VolumeMountGroup = "users" },
			codes.InvalidArgument, []string{"volume_mount_group", `"users"`}},
		{"no secret", func(r *csi.NodePublishVolumeRequest) { r.Secrets = nil }, codes.InvalidArgument, []string{"SecretInvalid: ", `"password"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := r.publishRequest()
			tt.change(req)
			_, err := r.node.NodePublishVolume(t.Context(), req)
			wantStatus(t, err, tt.code, tt.words...)
		})
	}
	if r.mounter.publishes != 0 {
		t.Errorf("the mounter was called %d times", r.mounter.publishes)
	}
}

func TestPublishUnderstandsRequest(t *testing.T) {
	base := volume.Default()
	base.AuthURL, base.Path = authURL, "/data"
	plain := volume.Publication{VolumeID: "vol-1", Spec: base}
	for _, tt := range []struct {
		name   string
		change func(*csi.NodePublishVolumeRequest)
		want   func(*volume.Publication)
	}{
		{"ReadWriteMany", func(*csi.NodePublishVolumeRequest) {}, func(*volume.Publication) {}},
		{"ReadWriteOnce", mode(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER), func(*volume.Publication) {}},
		{"ReadWriteOncePod", mode(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER), func(p *volume.Publication) { p.Exclusive = true }},
		{"single writer of old", mode(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER), func(p *volume.Publication) { p.Exclusive = true }},
		{"single reader", mode(csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY), func(p *volume.Publication) { p.ReadOnly, p.Spec.ReadOnly = true, true }},
		{"ReadOnlyMany", mode(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY), func(p *volume.Publication) { p.ReadOnly, p.Spec.ReadOnly = true, true }},
		{"one writer, many nodes", mode(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER), func(*volume.Publication) {}},
		{"read-only in the pod", func(r *csi.NodePublishVolumeRequest) { r.Readonly = true }, func(p *volume.Publication) { p.ReadOnly = true }},
		{"read-only attribute", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["readOnly"] = "true" },
			func(p *volume.Publication) { p.ReadOnly, p.Spec.ReadOnly = true, true }},
		{"mount flag ro", flags("ro"), func(p *volume.Publication) { p.ReadOnly, p.Spec.ReadOnly = true, true }},
		{"mount flags", flags("rw", "uid=7", "attr-timeout=3s", "cacheSize=1Gi", "sharing=none"), func(p *volume.Publication) {
			p.Spec.UID, p.Spec.AttrTimeout, p.Spec.CacheSize, p.Spec.Sharing = 7, 3e9, 1<<30, "none"
		}},
		{"mount flag before attribute", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeContext["uid"] = "1"
			flags("uid=2")(r)
		}, func(p *volume.Publication) { p.Spec.UID = 2 }},
		{"yes alone", flags("readOnly"), func(p *volume.Publication) { p.ReadOnly, p.Spec.ReadOnly = true, true }},
		{"fsGroup", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().VolumeMountGroup = "4711" },
			func(p *volume.Publication) { p.Spec.FSGroup, p.Spec.FSGroupSet = 4711, true }},
		{"Kubernetes' own keys", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeContext["csi.storage.k8s.io/pod.name"] = "p"
			r.VolumeContext["storage.kubernetes.io/csiProvisionerIdentity"] = "x"
		}, func(*volume.Publication) {}},
		{"unclean target", func(r *csi.NodePublishVolumeRequest) { r.TargetPath += "//." }, func(*volume.Publication) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t)
			req := r.publishRequest()
			tt.change(req)
			if _, err := r.node.NodePublishVolume(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			want := plain
			want.Target = r.target("t1")
			tt.want(&want)
			got, ok := r.mounter.at(r.target("t1"))
			if !ok {
				t.Fatal("not published")
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("publication (-want +got):\n%s", d)
			}
		})
	}
}

func mode(m csi.VolumeCapability_AccessMode_Mode) func(*csi.NodePublishVolumeRequest) {
	return func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = mountCapability(m) }
}

func flags(f ...string) func(*csi.NodePublishVolumeRequest) {
	return func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().MountFlags = f }
}

// A repeated publish of a live target must not fail, whatever has gone bad
// meanwhile, or kubelet takes the mount away from a running pod.
func TestRepublishNeverFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*rig, *csi.NodePublishVolumeRequest)
		logged string // reason in the log
	}{
		{"nothing changed", func(*rig, *csi.NodePublishVolumeRequest) {}, ""},
		{"secret is gone", func(_ *rig, r *csi.NodePublishVolumeRequest) { r.Secrets = nil }, "SecretInvalid"},
		{"secret is wrong", func(_ *rig, r *csi.NodePublishVolumeRequest) { r.Secrets[secretKey] = "x" }, "SecretInvalid"},
		{"attribute is no longer understood", func(_ *rig, r *csi.NodePublishVolumeRequest) { r.VolumeContext["old"] = "x" }, "InvalidAttribute"},
		{"mount flag is no longer understood", func(_ *rig, r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"old"}
		}, "InvalidAttribute"},
		{"credentials rejected", func(r *rig, _ *csi.NodePublishVolumeRequest) { r.mounter.publishErr = uftp.ErrAuth }, "LoginRejected"},
		{"server away", func(r *rig, _ *csi.NodePublishVolumeRequest) { r.mounter.publishErr = uftp.ErrUnavailable }, "ServerUnreachable"},
		{"mounter broken", func(r *rig, _ *csi.NodePublishVolumeRequest) { r.mounter.publishErr = errBroken }, "Internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t)
			if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
				t.Fatal(err)
			}
			req := r.publishRequest()
			tt.change(r, req)
			if _, err := r.node.NodePublishVolume(t.Context(), req); err != nil {
				t.Errorf("republish: %v", err)
			}
			if _, ok := r.mounter.at(r.target("t1")); !ok {
				t.Error("no longer published")
			}
			if tt.logged != "" && !contains(r.log.String(), "stays published", tt.logged) {
				t.Errorf("the log does not say %s:\n%s", tt.logged, r.log)
			}

			// The same trouble on a new target is an error.
			if tt.logged != "" {
				req.TargetPath = r.target("t2")
				if _, err := r.node.NodePublishVolume(t.Context(), req); err == nil {
					t.Error("first publish at another target succeeded")
				}
			}
		})
	}

	t.Run("unless it asks for something else", func(t *testing.T) {
		r := start(t)
		if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
			t.Fatal(err)
		}
		req := r.publishRequest()
		req.Readonly = true
		_, err := r.node.NodePublishVolume(t.Context(), req)
		wantStatus(t, err, codes.AlreadyExists, "Conflict: ")
	})
	t.Run("and is repeated when the mount does not work", func(t *testing.T) {
		r := start(t)
		if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
			t.Fatal(err)
		}
		r.mounter.stats.Abnormal = "worker ended"
		req := r.publishRequest()
		req.Secrets = nil
		_, err := r.node.NodePublishVolume(t.Context(), req)
		wantStatus(t, err, codes.Unavailable, "StateUnknown: ", "worker ended", "password")
	})
	t.Run("and is repeated when nobody knows", func(t *testing.T) {
		r := start(t)
		r.mounter.publishErr, r.mounter.statsErr = uftp.ErrAuth, errBroken
		_, err := r.node.NodePublishVolume(t.Context(), r.publishRequest())
		wantStatus(t, err, codes.Unavailable, "StateUnknown: ")
	})
}

func TestExclusive(t *testing.T) {
	r := start(t)
	req := r.publishRequest()
	req.VolumeCapability = mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER)
	for range 2 {
		if _, err := r.node.NodePublishVolume(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	req.TargetPath = r.target("t2")
	_, err := r.node.NodePublishVolume(t.Context(), req)
	wantStatus(t, err, codes.FailedPrecondition, "VolumeInUse: ")
}

func TestUnpublish(t *testing.T) {
	r := start(t)
	if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second time there is nothing to do
		req := &csi.NodeUnpublishVolumeRequest{VolumeId: "vol-1", TargetPath: r.target("t1")}
		if _, err := r.node.NodeUnpublishVolume(t.Context(), req); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for _, bad := range []*csi.NodeUnpublishVolumeRequest{{}, {VolumeId: "v"}, {TargetPath: "/t"}, {VolumeId: "v", TargetPath: "t"}} {
		_, err := r.node.NodeUnpublishVolume(t.Context(), bad)
		wantStatus(t, err, codes.InvalidArgument, "InvalidRequest: ")
	}
}

func TestStats(t *testing.T) {
	r := start(t)
	r.mounter.stats = volume.Stats{TotalBytes: 10, AvailableBytes: 7, UsedBytes: 3, TotalInodes: 5, AvailableInodes: 4, UsedInodes: 1, Abnormal: "server away"}
	if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
		t.Fatal(err)
	}
	resp, err := r.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: "vol-1", VolumePath: r.target("t1")})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(resp.GetUsage())
	want := fmt.Sprint([]*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: 10, Available: 7, Used: 3},
		{Unit: csi.VolumeUsage_INODES, Total: 5, Available: 4, Used: 1},
	})
	if got != want {
		t.Errorf("usage %s, want %s", got, want)
	}
	if !contains(r.log.String(), "volume is abnormal", "server away") {
		t.Error("the log does not say that the volume is abnormal")
	}

	for _, tt := range []struct {
		id, path string
		code     codes.Code
	}{
		{"", "/p", codes.InvalidArgument}, {"vol-1", "", codes.InvalidArgument},
		{"vol-1", "some/path", codes.NotFound}, {"vol-1", r.target("t2"), codes.NotFound}, {"vol-2", r.target("t1"), codes.NotFound},
	} {
		_, err := r.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: tt.id, VolumePath: tt.path})
		wantStatus(t, err, tt.code)
	}
}

func TestNodeInfo(t *testing.T) {
	r := start(t, func(c *driver.Config) { c.MaxVolumes = 12 })
	info, err := r.node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != "node-1" || info.GetMaxVolumesPerNode() != 12 {
		t.Errorf("got %v, %v", info, err)
	}
	_, err = r.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: "v"})
	wantStatus(t, err, codes.Unimplemented)
}
