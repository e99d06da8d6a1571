package mounter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Wait returns when the volume at a target is served no more: nil if it was
// unpublished, or somebody unmounted it and what was written is uploaded; else why.
// A target without a volume is [fs.ErrNotExist].
func (m *Manager) Wait(ctx context.Context, target string) error {
	target, err := resolve(target)
	if err != nil {
		return err
	}
	m.mu.Lock()
	p := m.targets[target]
	known := p != nil && p.bound
	m.mu.Unlock()
	if !known {
		return fmt.Errorf("%s: %w", target, fs.ErrNotExist)
	}
	select {
	case <-p.mount.over:
		m.mu.Lock()
		defer m.mu.Unlock()
		if p.mount.clean {
			return nil
		}
		return errors.New(p.mount.ended)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end marks a mount as served no more; clean is whether nothing is lost by it.
// Manager.mu is held.
func (mt *mount) end(reason string, clean bool) {
	if mt.ended == "" {
		mt.ended, mt.clean = reason, clean
		close(mt.over)
	}
}
