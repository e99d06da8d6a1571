package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// nodeServer publishes. There is no staging: the mounter shares mounts between
// targets by itself, and knows better when.
type nodeServer struct {
	csi.UnimplementedNodeServer
	d *Driver
}

func (s nodeServer) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, c := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}}})
	}
	return resp, nil
}

func (s nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: s.d.cfg.NodeID, MaxVolumesPerNode: s.d.cfg.MaxVolumes}, nil
}

// NodePublishVolume shows a volume at a target path. On a target that shows it
// already, nothing but a conflict is an error: kubelet answers an error of a
// repeated call by taking the mount away from the running pod.
func (s nodeServer) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := checkTarget(req); err != nil {
		return nil, err
	}
	if req.GetVolumeCapability() == nil {
		return nil, fmt.Errorf("%w: volume_capability is missing", errRequest)
	}
	err := s.publish(ctx, req)
	if err == nil {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := s.pardon(ctx, req, err); err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// checkTarget checks what publish and unpublish have in common.
func checkTarget(req interface {
	GetVolumeId() string
	GetTargetPath() string
}) error {
	switch {
	case req.GetVolumeId() == "":
		return fmt.Errorf("%w: volume_id is missing", errRequest)
	case req.GetTargetPath() == "":
		return fmt.Errorf("%w: target_path is missing", errRequest)
	case !filepath.IsAbs(req.GetTargetPath()):
		return fmt.Errorf("%w: target_path %q is not absolute", errRequest, req.GetTargetPath())
	}
	return nil
}

func (s nodeServer) publish(ctx context.Context, req *csi.NodePublishVolumeRequest) error {
	p, err := s.publication(req)
	if err != nil {
		return err
	}
	access, err := s.d.cfg.Credentials.Resolve(ctx, p.Spec, req.GetSecrets())
	if err != nil {
		return err
	}
	if err := s.d.cfg.Mounter.Publish(ctx, p, access); err != nil {
		return fmt.Errorf("directory %q: %w", p.Spec.Path, err)
	}
	return nil
}

// publication turns a request into what the mounter needs to know.
func (s nodeServer) publication(req *csi.NodePublishVolumeRequest) (volume.Publication, error) {
	if err := checkCapability(req.GetVolumeCapability()); errors.Is(err, errCapability) {
		return volume.Publication{}, fmt.Errorf("%w: %w", errExceeds, err)
	} else if err != nil {
		return volume.Publication{}, err
	}
	spec, err := volume.Parse(req.GetVolumeContext())
	if err != nil {
		return volume.Publication{}, err
	}
	if req.GetVolumeContext()["csi.storage.k8s.io/ephemeral"] == "true" {
		if err := s.d.inline.check(spec); err != nil {
			return volume.Publication{}, err
		}
	}
	if err := checkSpec(spec, req.GetVolumeCapability()); err != nil {
		return volume.Publication{}, err
	}
	if err := applyCapability(&spec, req.GetVolumeCapability()); err != nil {
		return volume.Publication{}, err
	}
	return volume.Publication{
		VolumeID:  req.GetVolumeId(),
		Target:    filepath.Clean(req.GetTargetPath()),
		Spec:      spec,
		ReadOnly:  spec.ReadOnly || req.GetReadonly(),
		Exclusive: accessModes[req.GetVolumeCapability().GetAccessMode().GetMode()].exclusive,
	}, nil
}

// checkSpec checks what a volume in a cluster must have beyond what a mount at a
// shell needs, and that the mount options go with the rest.
func checkSpec(spec volume.Spec, c *csi.VolumeCapability) error {
	if spec.Server != "" {
		return fmt.Errorf("%w: server %q: is for `csi-uftp mount` only, because it needs a one-time password; give authURL", volume.ErrInvalid, spec.Server)
	}
	if err := applyCapability(&spec, c); err != nil { // spec is a copy
		return err
	}
	return spec.Validate()
}

// pardon decides what becomes of an error of NodePublishVolume: nil if the
// target shows the volume nevertheless. A bad Secret, a server that is away or an
// attribute that a new version refuses then shows in the log, and the pod goes on
// with what it has.
func (s nodeServer) pardon(ctx context.Context, req *csi.NodePublishVolumeRequest, cause error) error {
	if errors.Is(cause, volume.ErrConflict) {
		return cause // the mounter knows the target is live, and says no
	}
	target := filepath.Clean(req.GetTargetPath())
	// kubelet may have given up on this request already; the answer still counts
	// for the next, and Stats asks nobody who could keep us waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer cancel()
	switch st, err := s.d.cfg.Mounter.Stats(ctx, req.GetVolumeId(), target); {
	case err == nil && st.Abnormal != "":
		return fmt.Errorf("%w: %s, after %v", errUncertain, st.Abnormal, cause) //nolint:errorlint // the cause's own code must not win
	case err == nil:
		s.d.logger(ctx).WarnContext(ctx, "republish failed, the volume stays published as it is",
			"volume_id", req.GetVolumeId(), "target_path", target, "err", toStatus(cause).Message())
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return cause
	default:
		// Perhaps it is live, perhaps not: neither OK nor an error that makes
		// kubelet clean up would be right.
		return fmt.Errorf("%w: %v, after %v", errUncertain, err, cause) //nolint:errorlint // the causes' own codes must not win
	}
}

// NodeUnpublishVolume succeeds also for what was never published.
func (s nodeServer) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := checkTarget(req); err != nil {
		return nil, err
	}
	if err := s.d.cfg.Mounter.Unpublish(ctx, req.GetVolumeId(), filepath.Clean(req.GetTargetPath())); err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
