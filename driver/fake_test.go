package driver_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

var (
	_ driver.Mounter     = (*fakeMounter)(nil)
	_ driver.Provisioner = (*fakeProvisioner)(nil)
	_ driver.Credentials = (*fakeCredentials)(nil)
)

// fakeMounter keeps the promises of driver.Mounter without mounting. The real
// mounter is tested together with the driver in test/sanity, where /dev/fuse is.
type fakeMounter struct {
	mu        sync.Mutex
	published map[string]volume.Publication // by target
	publishes int

	publishErr error
	statsErr   error
	stats      volume.Stats
	entered    chan struct{} // if set, Publish says when it was entered …
	release    chan struct{} // … and waits
	panics     bool
}

func (m *fakeMounter) Publish(ctx context.Context, p volume.Publication, _ uftp.Access) error {
	if m.entered != nil {
		m.entered <- struct{}{}
		select {
		case <-m.release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.publishes++
	switch {
	case m.panics:
		var none []int
		return fmt.Errorf("%d", none[m.publishes])
	case m.publishErr != nil:
		return m.publishErr
	}
	if old, ok := m.published[p.Target]; ok {
		if old.VolumeID != p.VolumeID || old.ReadOnly != p.ReadOnly {
			return fmt.Errorf("publish %s: %w", p.Target, volume.ErrConflict)
		}
		return nil
	}
	for _, other := range m.published {
		if other.VolumeID == p.VolumeID && (p.Exclusive || other.Exclusive) {
			return fmt.Errorf("published at %s: %w", other.Target, volume.ErrInUse)
		}
	}
	if err := os.Mkdir(p.Target, 0); err != nil {
		return err
	}
	if m.published == nil {
		m.published = map[string]volume.Publication{}
	}
	m.published[p.Target] = p
	return nil
}

func (m *fakeMounter) Unpublish(_ context.Context, volumeID, target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.published[target]; !ok || p.VolumeID != volumeID {
		return nil
	}
	delete(m.published, target)
	return os.Remove(target)
}

func (m *fakeMounter) Stats(_ context.Context, volumeID, path string) (volume.Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.statsErr != nil {
		return volume.Stats{}, m.statsErr
	}
	if p, ok := m.published[path]; !ok || p.VolumeID != volumeID {
		return volume.Stats{}, fs.ErrNotExist
	}
	return m.stats, nil
}

func (m *fakeMounter) at(target string) (volume.Publication, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.published[target]
	return p, ok
}

// fakeCredentials wants the one secret that the tests use.
type fakeCredentials struct{}

const (
	secretKey   = "password"
	secretValue = "s3cr3t-hunter2"
)

func (fakeCredentials) Resolve(_ context.Context, _ volume.Spec, secrets map[string]string) (uftp.Access, error) {
	if secrets[secretKey] != secretValue {
		return uftp.Access{}, fmt.Errorf("%w: key %q is missing", volume.ErrSecret, secretKey)
	}
	return uftp.Access{}, nil
}

// fakeProvisioner keeps directories in a map. Ids are "fake:" and the name.
type fakeProvisioner struct {
	mu    sync.Mutex
	made  map[string]made // by id
	err   error
	calls []string
}

type made struct {
	claim volume.Claim
	size  int64
}

func (p *fakeProvisioner) Locate(id string) (volume.Spec, error) {
	if !strings.HasPrefix(id, "fake:") {
		return volume.Spec{}, fs.ErrNotExist
	}
	return volume.Default(), nil
}

func (p *fakeProvisioner) Create(_ context.Context, c volume.Claim, _ uftp.Access) (volume.Provisioned, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return volume.Provisioned{}, p.err
	}
	id := "fake:" + base64.RawURLEncoding.EncodeToString([]byte(c.Name[max(0, len(c.Name)-60):]))
	v, ok := p.made[id]
	if ok && (v.size < c.MinSize || c.MaxSize > 0 && v.size > c.MaxSize || !maps.Equal(v.claim.Attributes, c.Attributes)) {
		return volume.Provisioned{}, volume.ErrConflict
	}
	if !ok {
		v = made{claim: c, size: c.MinSize}
		if p.made == nil {
			p.made = map[string]made{}
		}
		p.made[id] = v
	}
	return volume.Provisioned{ID: id, Path: c.Spec.Path + "/" + c.Name, Size: v.size}, nil
}

func (p *fakeProvisioner) Lookup(_ context.Context, id string, _ uftp.Access) (volume.Provisioned, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.made[id]
	if !ok {
		return volume.Provisioned{}, fs.ErrNotExist
	}
	return volume.Provisioned{ID: id, Size: v.size}, p.err
}

func (p *fakeProvisioner) Resize(_ context.Context, id string, size int64, _ uftp.Access) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.made[id]
	if !ok {
		return 0, fs.ErrNotExist
	}
	v.size = max(v.size, size)
	p.made[id] = v
	return v.size, nil
}

func (p *fakeProvisioner) Delete(_ context.Context, id string, _ uftp.Access) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, "delete "+id)
	if p.err != nil {
		return p.err
	}
	delete(p.made, id)
	return nil
}

var errBroken = errors.New("broken")
