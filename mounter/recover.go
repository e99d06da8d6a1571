package mounter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// reconnectEvery is the pause between attempts to reach a keeper that is away.
const reconnectEvery = time.Second

// Recover connects to the keeper and takes over what an earlier process left:
// mounts with a live worker go on untouched, mounts that nobody serves any more
// are detached from the plugin's directory. Targets that show a dead mount are
// left alone until the next publish or unpublish: pods may run on them.
//
// If that fails it is tried again, in the background, until it succeeds: nobody
// else may come for whom it would be.
func (m *Manager) Recover(ctx context.Context) error {
	_, err := m.connect(ctx)
	if err == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() == nil {
		m.group.Go(m.reconnect)
	}
	return err
}

// connectTimeout bounds the way to a keeper and what is to be learned from it.
// A keeper that hangs must not keep targets from being unpublished.
const connectTimeout = 20 * time.Second

// maxMounts bounds the mounts that are taken over from a keeper.
const maxMounts = 4096

// connect returns the connection to the keeper, a new one if needed.
func (m *Manager) connect(ctx context.Context) (*keeper.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	select {
	case m.connecting <- struct{}{}:
		defer func() { <-m.connecting }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	client := m.client
	m.mu.Unlock()
	if client != nil && client.Alive() {
		return client, nil
	}
	if m.ctx.Err() != nil {
		return nil, fmt.Errorf("mounter: %w", os.ErrClosed)
	}
	if client != nil {
		m.lost(client) // before mounts are taken over from the next
	}
	next, err := m.cfg.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", uftp.ErrUnavailable, err)
	}
	if err := m.sync(ctx, next); err != nil {
		m.mu.Lock()
		m.orphanAll() // those that were taken over before it failed
		m.mu.Unlock()
		_ = next.Close()
		return nil, fmt.Errorf("recover mounts: %w: %w", uftp.ErrUnavailable, err)
	}
	m.mu.Lock()
	closed := m.ctx.Err() != nil
	if !closed {
		m.client = next
		m.group.Go(func() { m.watch(next) })
	}
	m.mu.Unlock()
	if closed {
		_ = next.Close()
		return nil, fmt.Errorf("mounter: %w", os.ErrClosed)
	}
	return next, nil
}

// watch learns of workers that die, until the connection ends, and then sees to
// it that there is another one.
func (m *Manager) watch(client *keeper.Client) {
	for d := range client.Deaths() {
		m.died(d)
	}
	if m.ctx.Err() != nil {
		return
	}
	m.lost(client)
	m.reconnect()
}

// reconnect connects to the keeper as soon as there is one.
func (m *Manager) reconnect() {
	tick := time.NewTicker(reconnectEvery)
	defer tick.Stop()
	for {
		if _, err := m.connect(m.ctx); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
	}
}

// died gives up our copy of a device: the keeper has given up its own, so the
// kernel now fails what waits on the mount. The next publish of each of its
// targets mounts afresh.
func (m *Manager) died(d keeper.Death) {
	m.mu.Lock()
	mt := m.mounts[d.Name]
	expected := mt == nil || mt.closing
	if !expected {
		mt.end("worker ended: "+d.Reason, d.Clean)
		mt.letGo()
	}
	m.mu.Unlock()
	switch {
	case expected:
	case d.Clean:
		m.log.Info("somebody unmounted the mount", "mount", d.Name)
	default:
		m.log.Error("mount lost its worker", "mount", d.Name, "reason", d.Reason)
	}
}

// lost notes, once, that a connection has ended.
func (m *Manager) lost(client *keeper.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != client {
		return // there may be mounts of the next one already
	}
	m.client = nil
	m.orphanAll()
	m.log.Error("lost the keeper", "mounts", len(m.mounts))
}

// orphanAll is died for all mounts that a keeper would have told us about: nobody
// does now, and if a worker dies while we hold its device, its mount hangs. If
// the keeper still lives we get the descriptors back from it. m.mu is held.
func (m *Manager) orphanAll() {
	for _, mt := range m.mounts {
		mt.orphan = true
		mt.letGo()
	}
}

// letGo closes our copy of the device, unless the mount is being made: then
// whoever makes it uses the descriptor, and closes it at the end: see made.
func (mt *mount) letGo() {
	select {
	case <-mt.ready:
		_ = mt.device.Close()
	default:
	}
}

// sync makes our memory agree with what the keeper knows and what is mounted.
func (m *Manager) sync(ctx context.Context, client *keeper.Client) error {
	names, err := client.List(ctx)
	if err != nil {
		return err
	}
	t, err := readTable()
	if err != nil {
		return err
	}
	if len(names) > maxMounts {
		return fmt.Errorf("the keeper has %d mounts", len(names))
	}
	for _, name := range names {
		if !validName(name) {
			return fmt.Errorf("the keeper has a mount with the name %q", name)
		}
		kept, err := client.Get(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it died meanwhile
		}
		if err != nil {
			return err
		}
		//nolint:contextcheck // what is torn down goes on when ctx ends
		if err := m.adopt(client, name, kept, t); err != nil {
			m.log.Error("recovering a mount", "mount", name, "err", err)
			_ = kept.Device.Close()
		}
	}
	m.passFilesAgain(client) //nolint:contextcheck // it goes on when ctx ends
	if !m.cfg.Direct {
		m.sweep(ctx, t)
	}
	return nil
}

// adopt takes a mount over that the keeper has. Nothing that the keeper says is
// believed that could lead us elsewhere: the mount's directory follows from its
// name, and what is shown where is read from mountinfo.
func (m *Manager) adopt(client *keeper.Client, name string, kept *keeper.Mount, t table) error {
	if err := checkDevice(kept.Device); err != nil {
		return err
	}
	var n note
	if err := json.Unmarshal(kept.Note, &n); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if mt := m.mounts[name]; mt != nil {
		mt.orphan = false
		select {
		case <-mt.ready:
			_ = mt.device.Close()
			mt.device = kept.Device
		default: // whoever makes it uses the descriptor that he has
			_ = kept.Device.Close()
		}
		return nil
	}
	if m.cfg.Direct {
		return errors.New("not a mount of ours") // which begin and end with us
	}
	mt := &mount{
		name:        name,
		dir:         m.sourceDir(name),
		spec:        kept.Spec,
		private:     n.Private,
		ready:       make(chan struct{}),
		over:        make(chan struct{}),
		match:       matchKey(client.Key(), kept.Spec, n.Fingerprint, n.Private),
		fingerprint: n.Fingerprint,
		device:      kept.Device,
		used:        true,
		noting:      make(chan struct{}, 1),
	}
	close(mt.ready)
	// The process before us may have died before it did this.
	if err := writeInitReply(mt.device, kept.Init, kept.Reply); err != nil {
		return err
	}
	m.mounts[name] = mt
	if top := t.top(mt.dir); top != nil && isOurs(top) {
		mt.dev = deviceNumber(top)
	}
	for _, pub := range n.Publications {
		target := string(pub.Target)
		if mt.dev != "" && t.shows(target, mt.dev) && m.targets[target] == nil {
			m.targets[target] = &publication{mount: mt, bound: true, Publication: volume.Publication{
				VolumeID: pub.VolumeID, Target: target, Spec: kept.Spec, ReadOnly: pub.ReadOnly, Exclusive: pub.Exclusive,
			}}
			mt.users++
		}
	}
	m.log.Info("mount recovered", "mount", name, "publications", mt.users)
	if mt.users == 0 {
		mt.closing = true
		m.group.Go(func() {
			// After connect, which has the token and the client for us.
			m.connecting <- struct{}{}
			<-m.connecting
			m.teardown(context.WithoutCancel(m.ctx), mt)
		})
	}
	return nil
}

// sweep removes mounts and directories of which the keeper knows nothing and
// that nobody serves.
func (m *Manager) sweep(ctx context.Context, t table) {
	dir := m.sourceDir("")
	known := make(map[string]bool)
	m.mu.Lock()
	for _, mt := range m.mounts {
		known[mt.dir] = true
	}
	m.mu.Unlock()
	for _, i := range t.sources(dir) {
		if known[i.Mountpoint] {
			continue
		}
		if err := probe(ctx, i.Mountpoint, m.cfg.ProbeTimeout); !dead(err) {
			// A worker outlived its keeper. It goes on for its pods.
			m.log.Warn("mount that the keeper does not know", "mount", filepath.Base(i.Mountpoint), "err", err)
			continue
		}
		m.discard(ctx, i.Mountpoint)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range left {
		path := filepath.Join(dir, e.Name())
		if !known[path] && t.top(path) == nil {
			_ = removeTarget(path)
		}
	}
}
