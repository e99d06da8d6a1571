package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// statsTimeout is for something that is answered from memory; kubelet asks for
// every volume in turn.
const statsTimeout = 5 * time.Second

// NodeGetVolumeStats never touches the mount, so it cannot hang with it.
func (s nodeServer) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, fmt.Errorf("%w: volume_id is missing", errRequest)
	case req.GetVolumePath() == "":
		return nil, fmt.Errorf("%w: volume_path is missing", errRequest)
	case !filepath.IsAbs(req.GetVolumePath()):
		return nil, fmt.Errorf("%w at %q", errNotPublished, req.GetVolumePath())
	}
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	st, err := s.d.cfg.Mounter.Stats(ctx, req.GetVolumeId(), filepath.Clean(req.GetVolumePath()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w at %q", errNotPublished, req.GetVolumePath())
	case err != nil:
		return nil, err
	}
	if st.Abnormal != "" {
		s.d.logger(ctx).WarnContext(ctx, "volume is abnormal", "volume_id", req.GetVolumeId(), "reason", st.Abnormal)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(st)}, nil
}

func usage(st volume.Stats) []*csi.VolumeUsage {
	u := []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: st.TotalBytes, Available: st.AvailableBytes, Used: st.UsedBytes}}
	if st.TotalInodes > 0 { // CSI demands a total in each entry
		u = append(u, &csi.VolumeUsage{Unit: csi.VolumeUsage_INODES, Total: st.TotalInodes, Available: st.AvailableInodes, Used: st.UsedInodes})
	}
	return u
}
