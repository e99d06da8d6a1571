package mounter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// create makes a mount: a worker reaches the server, and only then something is
// mounted and handed to it. When it fails nothing is left.
func (m *Manager) create(ctx context.Context, client *keeper.Client, mt *mount, credential *wire.FD) error {
	note, err := m.encodeNote(mt)
	if err != nil {
		return err
	}
	if err := client.Create(ctx, mt.name, mt.spec, note, credential); err != nil {
		if ctx.Err() != nil {
			// The keeper may have been done in the moment we gave up.
			m.group.Go(func() { m.endWorker(context.WithoutCancel(ctx), mt) })
		}
		return err
	}
	if err := m.attach(ctx, client, mt); err != nil {
		m.teardown(context.WithoutCancel(ctx), mt)
		return err
	}
	m.mu.Lock()
	mt.used = true
	m.mu.Unlock()
	m.log.Info("mounted", "mount", mt.name, "dev", mt.dev)
	return nil
}

// attach mounts a device, hands it to the worker that is ready for it, and
// makes sure that the mount answers.
func (m *Manager) attach(ctx context.Context, client *keeper.Client, mt *mount) error {
	device, err := m.mountNew(ctx, mt)
	if err != nil {
		return err
	}
	m.mu.Lock()
	mt.device = device
	m.mu.Unlock()
	init, err := readInit(device)
	if err != nil {
		return err
	}
	reply, err := client.Serve(ctx, mt.name, init, device)
	if errors.Is(err, fs.ErrNotExist) { // the mount: nothing is asked of the server
		err = fmt.Errorf("%w: its worker ended (%s)", uftp.ErrUnavailable, err.Error())
	}
	if err != nil {
		return fmt.Errorf("hand the mount to its worker: %w", err)
	}
	if err := writeInitReply(device, init, reply); err != nil {
		return err
	}
	m.passFiles(ctx, client, mt)
	t, err := readTable()
	if err != nil {
		return err
	}
	top := t.top(mt.dir)
	if top == nil || !isOurs(top) {
		return fmt.Errorf("%s is not mounted", mt.dir)
	}
	m.mu.Lock()
	mt.dev = deviceNumber(top)
	m.mu.Unlock()
	if err := setReadAhead(mt.dev, m.cfg.ReadAhead); err != nil {
		m.log.Debug("read-ahead stays as it is", "mount", mt.name, "err", err)
	}
	return m.firstTrip(ctx, mt)
}

// firstTrip makes sure that a mount answers. While we hold the device the kernel
// would let us wait for a worker that has died meanwhile.
func (m *Manager) firstTrip(ctx context.Context, mt *mount) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.group.Go(func() {
		select {
		case <-mt.over:
			m.mu.Lock()
			defer m.mu.Unlock()
			cancel(fmt.Errorf("%w: %s", uftp.ErrUnavailable, mt.ended))
		case <-ctx.Done():
		}
	})
	if err := probe(ctx, mt.dir, m.cfg.ProbeTimeout); err != nil {
		return fmt.Errorf("first round trip through the mount: %w", err)
	}
	return nil
}

// mountNew mounts a new connection on mt.dir.
func (m *Manager) mountNew(ctx context.Context, mt *mount) (*wire.FD, error) {
	if m.cfg.Direct && os.Geteuid() != 0 {
		return fusermountDevice(ctx, mt.dir, mt.spec)
	}
	if !m.cfg.Direct {
		if err := os.Mkdir(mt.dir, 0o700); err != nil && !os.IsExist(err) {
			return nil, err
		}
	}
	device, err := openDevice()
	if err != nil {
		return nil, err
	}
	if err := mountDevice(device, mt.dir, mt.spec); err != nil {
		_ = device.Close()
		return nil, err
	}
	return device, nil
}

// noteTimeout bounds the wait for a keeper that has to remember something.
const noteTimeout = 10 * time.Second

// maxUsers bounds the publications of one mount, so that its note fits a message.
const maxUsers = 200

// note is what the keeper keeps for a node process that comes after this one.
type note struct {
	Private      string  `json:"private,omitempty"`
	Fingerprint  string  `json:"fingerprint"`
	Publications []shown `json:"publications,omitempty"`
}

// shown is a publication without the settings, which all of a mount share.
type shown struct {
	VolumeID  string `json:"volume_id"`
	Target    []byte `json:"target"` // a path, which need not be UTF-8
	ReadOnly  bool   `json:"read_only,omitempty"`
	Exclusive bool   `json:"exclusive,omitempty"`
}

func (m *Manager) encodeNote(mt *mount) (json.RawMessage, error) {
	m.mu.Lock()
	n := note{Private: mt.private, Fingerprint: mt.fingerprint}
	for _, p := range m.targets {
		if p.mount == mt {
			n.Publications = append(n.Publications, shown{p.VolumeID, []byte(p.Target), p.ReadOnly, p.Exclusive})
		}
	}
	m.mu.Unlock()
	b, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode note: %w", err)
	}
	return b, nil
}

// note writes what is known of a mount now to the keeper.
func (m *Manager) note(ctx context.Context, client *keeper.Client, mt *mount) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	select {
	case mt.noting <- struct{}{}: // or an older state could overtake a newer one
		defer func() { <-mt.noting }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	n, err := m.encodeNote(mt)
	if err != nil {
		return err
	}
	return client.SetNote(ctx, mt.name, n)
}
