package driver

import (
	"log/slog"
	"maps"
	"net/url"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// podInfo is what is logged of the keys that Kubernetes adds to a volume's
// attributes, under which name. Service account tokens are among the others.
var podInfo = map[string]string{ //nolint:gochecknoglobals // a table
	"csi.storage.k8s.io/pod.name":            "pod",
	"csi.storage.k8s.io/pod.namespace":       "pod_namespace",
	"csi.storage.k8s.io/pod.uid":             "pod_uid",
	"csi.storage.k8s.io/serviceAccount.name": "service_account",
	"csi.storage.k8s.io/pvc/name":            "pvc",
	"csi.storage.k8s.io/pvc/namespace":       "pvc_namespace",
	"csi.storage.k8s.io/pv/name":             "pv",
}

// describe says what of a request goes into the log: the fields listed here and
// nothing else. A field that CSI adds, a secret that a user puts into the wrong
// map, an attribute that nobody knows: none of them is logged.
func describe(req any) []slog.Attr {
	switch r := req.(type) {
	case *csi.NodePublishVolumeRequest:
		attrs := []slog.Attr{slog.String("volume_id", r.GetVolumeId()), slog.String("target_path", r.GetTargetPath()),
			slog.Bool("read_only", r.GetReadonly()), slog.Bool("has_secrets", len(r.GetSecrets()) > 0)}
		return append(attrs, append(describeCapability(r.GetVolumeCapability()), describeAttributes(r.GetVolumeContext())...)...)
	case *csi.NodeUnpublishVolumeRequest:
		return []slog.Attr{slog.String("volume_id", r.GetVolumeId()), slog.String("target_path", r.GetTargetPath())}
	case *csi.NodeGetVolumeStatsRequest:
		return []slog.Attr{slog.String("volume_id", r.GetVolumeId()), slog.String("volume_path", r.GetVolumePath())}
	case *csi.CreateVolumeRequest:
		attrs := []slog.Attr{slog.String("name", r.GetName()), slog.Bool("has_secrets", len(r.GetSecrets()) > 0),
			slog.Int64("size", r.GetCapacityRange().GetRequiredBytes())}
		return append(attrs, describeAttributes(r.GetParameters())...)
	case *csi.DeleteVolumeRequest:
		return []slog.Attr{slog.String("volume_id", r.GetVolumeId()), slog.Bool("has_secrets", len(r.GetSecrets()) > 0)}
	case *csi.ControllerExpandVolumeRequest:
		return []slog.Attr{slog.String("volume_id", r.GetVolumeId()), slog.Int64("size", r.GetCapacityRange().GetRequiredBytes())}
	case *csi.ValidateVolumeCapabilitiesRequest:
		return []slog.Attr{slog.String("volume_id", r.GetVolumeId())}
	}
	return nil
}

func describeCapability(c *csi.VolumeCapability) []slog.Attr {
	attrs := []slog.Attr{slog.String("access_mode", c.GetAccessMode().GetMode().String())}
	if group := c.GetMount().GetVolumeMountGroup(); group != "" {
		attrs = append(attrs, slog.String("mount_group", group))
	}
	return attrs
}

// describeAttributes logs the attributes of the table, which are not secret, and
// whose pod it is.
func describeAttributes(m map[string]string) []slog.Attr {
	var attrs, known []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(podInfo)) {
		if v, ok := m[key]; ok {
			attrs = append(attrs, slog.String(podInfo[key], v))
		}
	}
	for _, a := range volume.Attributes() {
		v, ok := m[a.Name]
		if !ok {
			continue
		}
		// A value that is not what the table asks for may be anything.
		var s volume.Spec
		if a.Set(&s, v) != nil {
			v = "[invalid]"
		} else if a.Name == "authURL" {
			v = withoutUser(v)
		}
		known = append(known, slog.String(a.Name, v))
	}
	if len(known) > 0 {
		attrs = append(attrs, slog.GroupAttrs("attributes", known...))
	}
	return attrs
}

// withoutUser is the second wall: the table refuses URLs with a password.
func withoutUser(v string) string {
	u, err := url.Parse(v)
	if err != nil {
		return "[invalid]"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
