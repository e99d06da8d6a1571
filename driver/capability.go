package driver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// accessMode is what a CSI access mode means to us. Nothing is enforced across
// nodes: Kubernetes does that.
type accessMode struct {
	readOnly  bool
	exclusive bool // one target a node
}

// accessModes are the modes we serve. Kubernetes' ReadWriteOnce arrives as
// SINGLE_NODE_MULTI_WRITER, and ReadWriteOncePod as SINGLE_NODE_SINGLE_WRITER,
// because we advertise SINGLE_NODE_MULTI_WRITER.
var accessModes = map[csi.VolumeCapability_AccessMode_Mode]accessMode{ //nolint:gochecknoglobals // a table
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        {exclusive: true},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: {exclusive: true},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  {},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   {readOnly: true},
	csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:    {readOnly: true},
	csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:  {},
	csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:   {},
}

// checkCapability refuses what this driver cannot do whatever the volume is.
func checkCapability(c *csi.VolumeCapability) error {
	_, known := accessModes[c.GetAccessMode().GetMode()]
	switch {
	case c == nil:
		return fmt.Errorf("%w: volume_capability is missing", errRequest)
	case c.GetBlock() != nil:
		return fmt.Errorf("%w: a UFTP volume is a directory and cannot be a block device; use volumeMode: Filesystem", errCapability)
	case c.GetMount() == nil:
		return fmt.Errorf("%w: volume_capability has no access type", errRequest)
	case c.GetAccessMode() == nil:
		return fmt.Errorf("%w: volume_capability has no access mode", errRequest)
	case !known:
		return fmt.Errorf("%w: access mode %v", errCapability, c.GetAccessMode().GetMode())
	}
	return nil
}

// applyCapability puts mount flags, mount group and access mode into s. c has
// passed checkCapability.
func applyCapability(s *volume.Spec, c *csi.VolumeCapability) error {
	for _, flag := range c.GetMount().GetMountFlags() {
		if err := applyMountFlag(s, flag); err != nil {
			return err
		}
	}
	if group := c.GetMount().GetVolumeMountGroup(); group != "" {
		gid, err := strconv.ParseUint(group, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: volume_mount_group %q is not a group id", errRequest, group)
		}
		s.FSGroup, s.FSGroupSet = uint32(gid), true
	}
	if accessModes[c.GetAccessMode().GetMode()].readOnly {
		s.ReadOnly = true
	}
	return nil
}

// applyMountFlag reads one mount option: "ro", "rw", "name=value", or the name of
// a yes-or-no attribute alone. Names may be written as attributes (cacheSize) or
// as flags (cache-size).
func applyMountFlag(s *volume.Spec, flag string) error {
	switch flag {
	case "ro":
		s.ReadOnly = true
		return nil
	case "rw":
		return nil // the default; it does not undo a volume's readOnly
	}
	name, value, hasValue := strings.Cut(flag, "=")
	a, err := lookupFlag(name)
	switch {
	case err != nil:
		return fmt.Errorf("mount option: %w", err)
	case a.Place:
		return fmt.Errorf("%w: mount option %s: belongs into the volume's attributes, because it decides which directory is shown", volume.ErrInvalid, a.Name)
	case !hasValue && a.IsBool():
		value = "true"
	case !hasValue:
		return fmt.Errorf("%w: mount option %s: has no value: write %s=…", volume.ErrInvalid, a.Name, a.Name)
	}
	if err := a.Set(s, value); err != nil {
		return fmt.Errorf("mount option: %w", err)
	}
	return nil
}

func lookupFlag(name string) (volume.Attribute, error) {
	for _, a := range volume.Attributes() {
		if a.Flag() == name {
			return a, nil
		}
	}
	return volume.Lookup(name)
}
