package mounter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Publish shows a volume at its target: after it the target is a working mount,
// or everything is as it was.
//
// A target that shows the volume already has its credential refreshed, and that
// never fails: a credential that the auth service does not accept is logged,
// and the mount keeps the one it has. So it is with settings that are not those
// of the mount: they are for the next one. Another volume, place or capability
// is [volume.ErrConflict] (see conflict); a second target against the access
// mode is [volume.ErrInUse]. Errors about the credential, the server or the path come
// before anything is mounted and keep the cause that the worker found.
func (m *Manager) Publish(ctx context.Context, pub volume.Publication, access uftp.Access) error {
	target, err := resolve(pub.Target)
	if err != nil {
		return err
	}
	pub.Target = target
	unlock, err := m.lockTarget(target)
	if err != nil {
		return err
	}
	defer unlock()

	client, connectErr := m.connect(ctx)
	published, err := m.republish(ctx, pub, access, client)
	if published || err != nil {
		return unavailable(err)
	}
	if connectErr != nil {
		return connectErr
	}
	if err := m.reserve(pub); err != nil {
		return err
	}
	if err := m.publish(ctx, client, pub, access); err != nil {
		m.mu.Lock()
		delete(m.targets, target)
		m.mu.Unlock()
		return unavailable(err)
	}
	m.log.Info("published", "volume_id", pub.VolumeID, "target_path", target, "read_only", pub.ReadOnly)
	return nil
}

// unavailable says of an error that another try may mend it, if the keeper or a worker
// was gone before it had answered, or the keeper is about to go.
func unavailable(err error) error {
	if errors.Is(err, wire.ErrClosed) || errors.Is(err, wire.ErrStopping) {
		return fmt.Errorf("%w: the keeper or the worker ended: %w", uftp.ErrUnavailable, err)
	}
	return err
}

// republish deals with a target that has a mount. It reports whether the target
// works; if not, and there is no error, nothing is mounted there any more.
func (m *Manager) republish(ctx context.Context, pub volume.Publication, access uftp.Access, client *keeper.Client) (bool, error) {
	t, err := readTable()
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	known := m.targets[pub.Target]
	m.mu.Unlock()

	if known == nil {
		switch top := t.top(pub.Target); {
		case top == nil:
			return false, nil
		case !isOurs(top) && m.cfg.Direct:
			return false, nil // a person's directory may be a mount point itself
		case !isOurs(top):
			return false, fmt.Errorf("target %s shows a mount of type %s already: %w", pub.Target, top.FSType, fs.ErrExist)
		}
		if !dead(probe(ctx, pub.Target, m.cfg.ProbeTimeout)) {
			if m.cfg.Direct { // by another process, of who knows what
				return false, fmt.Errorf("%s shows a UFTP directory already; unmount that first: %w", pub.Target, fs.ErrExist)
			}
			// Mounted by an earlier process, and the keeper does not know it
			// either. It works, so it stays.
			m.log.Warn("target is mounted and nobody knows by whom", "target_path", pub.Target)
			return true, nil
		}
		return false, m.clear(ctx, pub.Target)
	}

	if what := conflict(known.Publication, pub); what != "" {
		return false, fmt.Errorf("%s shows volume %s with another %s: %w", pub.Target, known.VolumeID, what, volume.ErrConflict)
	}
	if m.works(ctx, known) && t.shows(pub.Target, known.mount.dev) {
		m.noteChange(known, pub)
		m.refresh(ctx, client, known.mount, access)
		return true, nil
	}
	m.log.Warn("target shows a dead mount; mounting afresh",
		"volume_id", pub.VolumeID, "target_path", pub.Target, "mount", known.mount.name)
	if err := m.clear(ctx, pub.Target); err != nil {
		return false, err
	}
	m.drop(ctx, known)
	return false, nil
}

// noteChange says once that a publication has settings that its mount has not.
func (m *Manager) noteChange(known *publication, pub volume.Publication) {
	if known.Spec == pub.Spec || known.asked == pub.Spec {
		return
	}
	known.asked = pub.Spec
	var names []string
	for _, a := range known.Spec.Differences(pub.Spec) {
		names = append(names, a.Name)
	}
	m.log.Warn("settings have changed; the mount keeps those it has until the volume is mounted afresh",
		"volume_id", pub.VolumeID, "target_path", pub.Target, "attributes", names)
}

// works reports whether a publication's mount is served.
func (m *Manager) works(ctx context.Context, p *publication) bool {
	m.mu.Lock()
	ended, orphan := p.mount.ended, p.mount.orphan
	m.mu.Unlock()
	if ended != "" {
		return false
	}
	if !orphan {
		return true
	}
	// Nobody watches its worker for us.
	return !dead(probe(ctx, p.Target, m.cfg.ProbeTimeout))
}

// refusedFor is how long a credential that was refused is not tried again. Publishing
// is repeated every minute for each pod, and wrong passwords lock people out.
const refusedFor = 5 * time.Minute

// refresh hands a rotated credential to the worker.
func (m *Manager) refresh(ctx context.Context, client *keeper.Client, mt *mount, access uftp.Access) {
	if client == nil || mt.spec.Server != "" { // a one-time password is never renewed
		return
	}
	fingerprint := access.Fingerprint(client.Key())
	m.mu.Lock()
	skip := mt.fingerprint == fingerprint || mt.orphan || // nobody can reach the worker of an orphan
		mt.refused == fingerprint && time.Since(mt.refusedAt) < refusedFor
	m.mu.Unlock()
	if skip {
		return
	}
	err := withSealed(access, func(credential *wire.FD) error {
		return client.Refresh(ctx, mt.name, credential, true)
	})
	if err != nil {
		if errors.Is(err, uftp.ErrAuth) || errors.Is(err, fs.ErrPermission) {
			m.mu.Lock()
			mt.refused, mt.refusedAt = fingerprint, time.Now()
			m.mu.Unlock()
		}
		m.log.Warn("new credential not accepted; the mount keeps the old one", "mount", mt.name, "err", err)
		return
	}
	m.mu.Lock()
	mt.fingerprint = fingerprint
	mt.match = matchKey(client.Key(), mt.spec, fingerprint, mt.private)
	m.mu.Unlock()
	if err := m.note(ctx, client, mt); err != nil {
		m.log.Warn("the keeper did not take the note", "mount", mt.name, "err", err)
	}
}

// withSealed calls f with the credential in sealed memory.
func withSealed(access uftp.Access, f func(*wire.FD) error) error {
	data, err := uftp.MarshalAccess(access)
	if err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	credential, err := wire.Seal("credential", data)
	clear(data)
	if err != nil {
		return err
	}
	defer func() { _ = credential.Close() }()
	return f(credential)
}

// reserve enters a publication, unless the access mode of one of the volume's
// publications forbids it.
func (m *Manager) reserve(pub volume.Publication) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.targets {
		if other.VolumeID == pub.VolumeID && (other.Exclusive || pub.Exclusive) {
			return fmt.Errorf("volume %s is published at %s: %w", pub.VolumeID, other.Target, volume.ErrInUse)
		}
	}
	m.targets[pub.Target] = &publication{Publication: pub}
	return nil
}

// publish finds or makes the mount of a reserved publication and binds it.
func (m *Manager) publish(ctx context.Context, client *keeper.Client, pub volume.Publication, access uftp.Access) error {
	return withSealed(access, func(credential *wire.FD) error {
		fingerprint := access.Fingerprint(client.Key())
		mt, err := m.acquire(ctx, client, pub, fingerprint, credential)
		if err != nil {
			return err
		}
		if err := m.show(ctx, client, mt, pub); err != nil {
			m.mu.Lock()
			m.targets[pub.Target].mount = nil
			m.mu.Unlock()
			m.release(ctx, mt)
			return err
		}
		return nil
	})
}

// acquire returns a mount that serves and counts the caller among its users.
func (m *Manager) acquire(ctx context.Context, client *keeper.Client, pub volume.Publication, fingerprint string, credential *wire.FD) (*mount, error) {
	for {
		mt, mine := m.join(client.Key(), pub, fingerprint)
		if mine {
			err := m.create(ctx, client, mt, credential)
			m.made(mt, err)
			return mt, err
		}
		select {
		case <-mt.ready:
		case <-ctx.Done():
			m.release(ctx, mt)
			return nil, context.Cause(ctx)
		}
		if mt.err != nil {
			if ctx.Err() == nil && (errors.Is(mt.err, context.Canceled) || errors.Is(mt.err, context.DeadlineExceeded)) {
				continue // whoever made it gave up; we have not
			}
			return nil, mt.err
		}
		if pub.Spec.Server != "" {
			return mt, nil
		}
		// The mount has the same credential, but is it accepted today? Nobody
		// reaches another's mount without having proved that.
		if err := client.Refresh(ctx, mt.name, credential, false); err != nil {
			m.release(ctx, mt)
			return nil, err
		}
		return mt, nil
	}
}

// made says that a mount is made, or why not. One whose worker nobody watches any
// more, or that has died meanwhile, must not hang: nobody let go of its device.
func (m *Manager) made(mt *mount, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mt.err = err
	if err != nil {
		delete(m.mounts, mt.name)
	}
	close(mt.ready)
	if mt.orphan || mt.ended != "" {
		mt.letGo()
	}
}

// private is what keeps a mount to one target, or "".
func (m *Manager) private(spec volume.Spec, target string) string {
	if spec.Sharing == "none" || m.cfg.Direct {
		return target
	}
	return ""
}

// join returns a mount that the publication may share, or a new one that the
// caller has to make.
func (m *Manager) join(key []byte, pub volume.Publication, fingerprint string) (mt *mount, mine bool) {
	private := m.private(pub.Spec, pub.Target)
	match := matchKey(key, pub.Spec, fingerprint, private)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mt := range m.mounts {
		if mt.match == match && mt.ended == "" && !mt.closing && !mt.orphan && mt.users < maxUsers {
			mt.users++
			return mt, false
		}
	}
	name := newName(match)
	mt = &mount{
		name:        name,
		dir:         m.sourceDir(name),
		spec:        pub.Spec,
		ready:       make(chan struct{}),
		over:        make(chan struct{}),
		private:     private,
		match:       match,
		fingerprint: fingerprint,
		users:       1,
		noting:      make(chan struct{}, 1),
	}
	if m.cfg.Direct {
		mt.dir = pub.Target
	}
	m.mounts[name] = mt
	return mt, true
}

// show binds a mount at a target and notes it at the keeper. The note comes
// first: what is noted and not mounted is forgotten, while what is mounted and
// not noted would stay for ever.
func (m *Manager) show(ctx context.Context, client *keeper.Client, mt *mount, pub volume.Publication) error {
	m.mu.Lock()
	p := m.targets[pub.Target]
	p.mount = mt
	m.mu.Unlock()
	if err := m.note(ctx, client, mt); err != nil {
		return err
	}
	if !m.cfg.Direct {
		if err := m.bindTarget(ctx, mt, pub); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p.bound = true
	return nil
}

func (m *Manager) bindTarget(ctx context.Context, mt *mount, pub volume.Publication) (err error) {
	created, err := makeTarget(pub.Target)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && created {
			_ = removeTarget(pub.Target)
		}
	}()
	if err := bind(mt.dir, pub.Target, pub.ReadOnly); err != nil {
		return err
	}
	t, err := readTable()
	if err == nil && !t.shows(pub.Target, mt.dev) {
		err = fmt.Errorf("%s does not show the mount", pub.Target)
	}
	m.mu.Lock()
	ended := mt.ended
	m.mu.Unlock()
	if err == nil && ended != "" {
		err = fmt.Errorf("%w: %s", uftp.ErrUnavailable, ended)
	}
	if err != nil {
		_ = unmount(context.WithoutCancel(ctx), pub.Target)
	}
	return err
}
