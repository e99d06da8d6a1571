package mounter

import "github.com/csi-uftp/csi-uftp/internal/volume"

// conflict names what makes pub another publication than the one that its target
// shows, or returns "": the volume, what of its capability an orchestrator
// chooses for each target, and the attributes that decide what is shown and to
// whom. The others do not count. Publishing is repeated for running pods, also
// by a new version that has another attribute or another default, and kubelet
// answers a conflict by taking the mount away.
func conflict(shown, pub volume.Publication) string {
	switch {
	case shown.VolumeID != pub.VolumeID:
		return "volume id"
	case shown.ReadOnly != pub.ReadOnly:
		return "read-only setting"
	case shown.Exclusive != pub.Exclusive:
		return "access mode"
	case shown.Spec.FSGroupSet != pub.Spec.FSGroupSet || shown.Spec.FSGroup != pub.Spec.FSGroup:
		return "mount group"
	}
	for _, a := range shown.Spec.Differences(pub.Spec) {
		if a.Place {
			return a.Name
		}
	}
	return ""
}
