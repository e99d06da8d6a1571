package mounter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// unmountTimeout bounds one umount2, which waits for the worker if it writes
// something back.
const unmountTimeout = 10 * time.Second

// Unpublish undoes [Manager.Publish] and succeeds when there is nothing left to
// undo, whether the mount works or not. With its last publication a mount ends:
// the worker uploads what is left, and that is waited for.
func (m *Manager) Unpublish(ctx context.Context, volumeID, target string) error {
	target, err := resolve(target)
	if err != nil {
		return err
	}
	unlock, err := m.lockTarget(target)
	if err != nil {
		return err
	}
	defer unlock()
	// Without the keeper everything but the drain works.
	connecting, cancel := context.WithTimeout(ctx, connectTimeout/2)
	defer cancel()
	if _, err := m.connect(connecting); err != nil {
		m.log.Warn("unpublishing without the keeper", "err", err)
	}
	m.mu.Lock()
	known := m.targets[target]
	m.mu.Unlock()
	if known != nil && known.VolumeID != volumeID && volumeID != "" {
		return nil // that volume is not here
	}
	if !m.cfg.Direct {
		if err := m.clear(ctx, target); err != nil {
			return err
		}
		if err := removeTarget(target); err != nil {
			return err
		}
	}
	if known != nil {
		m.drop(ctx, known)
		m.log.Info("unpublished", "volume_id", volumeID, "target_path", target)
	}
	return context.Cause(ctx)
}

// clear removes every mount of ours from a target.
func (m *Manager) clear(ctx context.Context, target string) error {
	for {
		t, err := readTable()
		if err != nil {
			return err
		}
		top := t.top(target)
		if top == nil {
			return nil
		}
		if !isOurs(top) {
			if m.cfg.Direct {
				return nil
			}
			return fmt.Errorf("%s shows a mount of type %s that is not ours", target, top.FSType)
		}
		if err := m.unmount(ctx, target); err != nil {
			return err
		}
		m.clearSource(ctx, deviceNumber(top))
	}
}

// clearSource ends a mount that no manager knows, when its last bind is gone.
func (m *Manager) clearSource(ctx context.Context, dev string) {
	t, err := readTable()
	if err != nil {
		return
	}
	// Only its source, and not, say, a subPath that the kubelet has bound.
	left := t.mountedOn(dev)
	if len(left) != 1 || filepath.Dir(left[0]) != m.sourceDir("") {
		return
	}
	if m.knows(left[0]) {
		return // it ends with its last publication, or has the number only now and is being made
	}
	m.discard(ctx, left[0])
}

// knows reports whether a directory is that of a mount of this manager.
func (m *Manager) knows(dir string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mt := range m.mounts {
		if mt.dir == dir {
			return true
		}
	}
	return false
}

// discard removes a source that nobody serves or needs, and its directory.
func (m *Manager) discard(ctx context.Context, dir string) {
	if err := m.unmount(ctx, dir); err != nil {
		m.log.Warn("left-over mount", "err", err)
		return
	}
	if err := removeTarget(dir); err != nil {
		m.log.Warn("left-over directory", "err", err)
	}
	m.log.Info("left-over mount removed", "mount", filepath.Base(dir))
}

func (m *Manager) unmount(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, unmountTimeout)
	defer cancel()
	if m.cfg.Direct && os.Geteuid() != 0 {
		return fusermountUnmount(ctx, path)
	}
	err := unmount(ctx, path)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // not mounted any more
	}
	return err
}

// drop forgets a publication, and lets go of its mount.
func (m *Manager) drop(ctx context.Context, p *publication) {
	m.mu.Lock()
	delete(m.targets, p.Target)
	m.mu.Unlock()
	m.release(ctx, p.mount)
}

// release takes one user from a mount. The last one ends it; that goes on when
// ctx ends, nobody waits for it then.
func (m *Manager) release(ctx context.Context, mt *mount) {
	m.mu.Lock()
	mt.users--
	last := mt.users == 0
	if last {
		mt.closing = true
	}
	client := m.client
	m.mu.Unlock()
	if !last {
		if client == nil {
			return
		}
		if err := m.note(ctx, client, mt); err != nil {
			m.log.Warn("the keeper did not take the note", "mount", mt.name, "err", err)
		}
		return
	}
	done := make(chan struct{})
	m.group.Go(func() {
		defer close(done)
		m.teardown(context.WithoutCancel(ctx), mt)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// teardown ends a mount, whatever state it is in, in bounded time. The worker
// sees its device end, uploads what it has and exits; one that does not is
// stopped.
func (m *Manager) teardown(ctx context.Context, mt *mount) {
	m.mu.Lock()
	dev := mt.dev
	m.mu.Unlock()
	control := openControl(dev) // before we see that dev is still our number
	defer func() { _ = control.Close() }()
	t, err := readTable()
	if err != nil {
		m.log.Error("tearing a mount down", "mount", mt.name, "err", err)
	}
	if !t.shows(mt.dir, dev) {
		_ = control.Close()
	}
	if top := t.top(mt.dir); top != nil && isOurs(top) && m.shows(ctx, mt) {
		if err := m.unmount(ctx, mt.dir); err != nil {
			// Blocked in the kernel on a worker that does not answer: it
			// goes on when the worker is gone.
			m.log.Warn("unmounting", "mount", mt.name, "err", err)
		}
	}
	m.endWorker(ctx, mt)
	m.mu.Lock()
	device := mt.device
	m.mu.Unlock()
	_ = device.Close()
	if t, err := readTable(); err == nil && len(t.mountedOn(dev)) == 0 {
		control.abort() // requests that hang in spite of all that
	}
	if !m.cfg.Direct {
		if err := removeTarget(mt.dir); err != nil {
			m.log.Warn("mount directory", "mount", mt.name, "err", err)
		}
	}
	m.mu.Lock()
	delete(m.mounts, mt.name)
	_ = mt.device.Close() // the keeper may have given us another meanwhile
	mt.end("unpublished", true)
	m.mu.Unlock()
	m.log.Info("unmounted", "mount", mt.name)
}

// shows reports whether what is mounted where a mount was can be that. In a person's
// directory somebody may have unmounted it and mounted something else, even with the
// same number; a mount that nobody serves any more is dead when its device is closed.
func (m *Manager) shows(ctx context.Context, mt *mount) bool {
	m.mu.Lock()
	served, device := mt.ended == "", mt.device
	m.mu.Unlock()
	if served || !m.cfg.Direct {
		return true
	}
	_ = device.Close()
	return dead(probe(ctx, mt.dir, m.cfg.ProbeTimeout))
}

// endWorker waits for the worker to upload and end, and sees to it that it does.
func (m *Manager) endWorker(ctx context.Context, mt *mount) {
	m.mu.Lock()
	client, gone := m.client, mt.ended != "" || mt.orphan
	grace := m.cfg.DrainTimeout
	if !mt.used {
		grace = 0
	}
	m.mu.Unlock()
	if client == nil || gone {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*m.cfg.DrainTimeout+30*time.Second)
	defer cancel()
	reason, clean, err := client.Remove(ctx, mt.name, grace)
	switch {
	case err != nil:
		m.log.Error("ending a worker", "mount", mt.name, "err", err)
	case !clean:
		m.log.Error("worker ended before everything was uploaded", "mount", mt.name, "reason", reason)
	}
}
