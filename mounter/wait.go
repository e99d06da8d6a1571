package mounter

import (
	"context"
	"fmt"
	"io/fs"
)

// Wait returns when the volume at a target is served no more, and why: its
// worker ended, because it died or somebody unmounted the volume, or it was
// unpublished. A target without a volume is [fs.ErrNotExist].
func (m *Manager) Wait(ctx context.Context, target string) (reason string, err error) {
	target, err = resolve(target)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	p := m.targets[target]
	known := p != nil && p.bound
	m.mu.Unlock()
	if !known {
		return "", fmt.Errorf("%s: %w", target, fs.ErrNotExist)
	}
	select {
	case <-p.mount.over:
		m.mu.Lock()
		defer m.mu.Unlock()
		return p.mount.ended, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// end marks a mount as served no more. Manager.mu is held.
func (mt *mount) end(reason string) {
	if mt.ended == "" {
		mt.ended = reason
		close(mt.over)
	}
}
