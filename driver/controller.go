package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// maxNameLength is CSI's limit for a volume's name, in bytes.
const maxNameLength = 128

// controllerServer makes directories. It attaches nothing, so there is nothing
// to publish to a node.
type controllerServer struct {
	csi.UnimplementedControllerServer
	d *Driver
}

func (s controllerServer) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, c := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: c}}})
	}
	return resp, nil
}

// CreateVolume makes a directory, or finds the one that an earlier call with the
// same name and parameters made.
func (s controllerServer) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	size := req.GetCapacityRange()
	switch {
	case req.GetName() == "":
		return nil, fmt.Errorf("%w: name is missing", errRequest)
	case len(req.GetName()) > maxNameLength:
		return nil, fmt.Errorf("%w: name has %d bytes, at most %d are possible", errRequest, len(req.GetName()), maxNameLength)
	case len(req.GetVolumeCapabilities()) == 0:
		return nil, fmt.Errorf("%w: volume_capabilities are missing", errRequest)
	case req.GetVolumeContentSource() != nil:
		return nil, fmt.Errorf("%w: a volume cannot be made from a snapshot or another volume", errCapability)
	case len(req.GetMutableParameters()) > 0:
		return nil, fmt.Errorf("%w: mutable_parameters (a VolumeAttributesClass)", errCapability)
	}
	if err := checkSize(size); err != nil {
		return nil, err
	}
	class, err := volume.ParseClass(req.GetParameters())
	if err != nil {
		return nil, err
	}
	for _, c := range req.GetVolumeCapabilities() {
		// Complain now about a mount option, and not in each pod.
		if err := errors.Join(checkCapability(c), checkSpec(class.Spec, c)); err != nil {
			return nil, err
		}
	}
	access, err := s.d.cfg.Credentials.Resolve(ctx, class.Spec, req.GetSecrets())
	if err != nil {
		return nil, err
	}
	made, err := s.d.cfg.Provisioner.Create(ctx, volume.Claim{
		Name: req.GetName(), Class: class, MinSize: size.GetRequiredBytes(), MaxSize: size.GetLimitBytes(),
	}, access)
	if err != nil {
		return nil, err
	}
	attributes := maps.Clone(class.Attributes)
	attributes["path"] = made.Path
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: made.ID, CapacityBytes: made.Size, VolumeContext: attributes,
	}}, nil
}

func checkSize(size *csi.CapacityRange) error {
	least, most := size.GetRequiredBytes(), size.GetLimitBytes()
	if least < 0 || most < 0 || most > 0 && least > most {
		return fmt.Errorf("%w: from %d to %d bytes", errSize, least, most)
	}
	return nil
}

// DeleteVolume succeeds for what does not exist and for ids that are not ours.
func (s controllerServer) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, fmt.Errorf("%w: volume_id is missing", errRequest)
	}
	access, err := s.locate(ctx, req.GetVolumeId(), req.GetSecrets())
	switch {
	case errors.Is(err, errNoVolume):
		return &csi.DeleteVolumeResponse{}, nil
	case err != nil:
		return nil, err
	}
	if err := s.d.cfg.Provisioner.Delete(ctx, req.GetVolumeId(), access); err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// ControllerExpandVolume records the new size, which is all that CreateVolume
// does with the old one: the server enforces its own quotas only.
func (s controllerServer) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	size := req.GetCapacityRange()
	switch {
	case req.GetVolumeId() == "":
		return nil, fmt.Errorf("%w: volume_id is missing", errRequest)
	case size == nil:
		return nil, fmt.Errorf("%w: capacity_range is missing", errRequest)
	}
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if c := req.GetVolumeCapability(); c != nil {
		if err := checkCapability(c); err != nil {
			return nil, err
		}
	}
	access, err := s.locate(ctx, req.GetVolumeId(), req.GetSecrets())
	if err != nil {
		return nil, err
	}
	n, err := s.d.cfg.Provisioner.Resize(ctx, req.GetVolumeId(), size.GetRequiredBytes(), access)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %q", errNoVolume, req.GetVolumeId())
	case err != nil:
		return nil, err
	case size.GetLimitBytes() > 0 && n > size.GetLimitBytes():
		return nil, fmt.Errorf("%w: the volume has %d bytes already, more than the limit of %d", errSize, n, size.GetLimitBytes())
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: n}, nil
}

// ValidateVolumeCapabilities answers for volumes that this driver provisioned:
// of others it knows nothing.
func (s controllerServer) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, fmt.Errorf("%w: volume_id is missing", errRequest)
	case len(req.GetVolumeCapabilities()) == 0:
		return nil, fmt.Errorf("%w: volume_capabilities are missing", errRequest)
	}
	access, err := s.locate(ctx, req.GetVolumeId(), req.GetSecrets())
	if err != nil {
		return nil, err
	}
	if _, err := s.d.cfg.Provisioner.Lookup(ctx, req.GetVolumeId(), access); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q", errNoVolume, req.GetVolumeId())
	} else if err != nil {
		return nil, err
	}
	for _, c := range req.GetVolumeCapabilities() {
		spec := volume.Default()
		if err := errors.Join(checkCapability(c), applyCapability(&spec, c)); err != nil {
			return &csi.ValidateVolumeCapabilitiesResponse{Message: toStatus(err).Message()}, nil
		}
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: req.GetVolumeContext(), VolumeCapabilities: req.GetVolumeCapabilities(), Parameters: req.GetParameters(),
	}}, nil
}

// locate finds the credentials for a volume of which only the id is known. It is
// errNoVolume for an id that is not ours: static volumes have any.
func (s controllerServer) locate(ctx context.Context, id string, secrets map[string]string) (uftp.Access, error) {
	spec, err := s.d.cfg.Provisioner.Locate(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return uftp.Access{}, fmt.Errorf("%w: %q", errNoVolume, id)
	case err != nil:
		return uftp.Access{}, err
	}
	return s.d.cfg.Credentials.Resolve(ctx, spec, secrets)
}
