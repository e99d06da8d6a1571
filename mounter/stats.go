package mounter

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// statsTimeout bounds the wait for a worker, which answers from memory.
const statsTimeout = 5 * time.Second

// Stats returns what is known of a published volume. It never touches the
// mount; one that does not work is [volume.Stats.Abnormal], not an error. A
// volume that is not published at path is [fs.ErrNotExist].
func (m *Manager) Stats(ctx context.Context, volumeID, path string) (volume.Stats, error) {
	target, err := resolve(path)
	if err != nil {
		return volume.Stats{}, err
	}
	client, err := m.connect(ctx)
	if err != nil {
		m.log.Warn("stats without the keeper", "err", err)
	}
	m.mu.Lock()
	p := m.targets[target]
	known := p != nil && p.bound && p.VolumeID == volumeID
	var ended, name string
	if known {
		ended, name = p.mount.ended, p.mount.name
		if p.mount.orphan && ended == "" {
			ended = "the keeper is gone"
		}
	}
	m.mu.Unlock()
	switch {
	case p == nil && showsOurs(target):
		// The keeper has not told us, or never will. It may be this volume, and a
		// pod may run on it.
		return volume.Stats{Abnormal: "the target shows a mount of which nobody knows whose it is"}, nil
	case !known:
		return volume.Stats{}, fmt.Errorf("volume %s at %s: %w", volumeID, path, fs.ErrNotExist)
	case ended != "":
		return volume.Stats{Abnormal: ended}, nil
	case client == nil:
		return volume.Stats{Abnormal: "the keeper is gone"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	stats, err := client.Stats(ctx, name)
	if err != nil {
		return volume.Stats{Abnormal: fmt.Sprintf("the mount's worker does not answer: %v", err)}, nil
	}
	return stats, nil
}
