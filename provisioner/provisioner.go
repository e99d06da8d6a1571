package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Config is what a Provisioner is made of. The zero value is good.
type Config struct {
	Dial   uftp.DialFunc // default: TCP
	Logger *slog.Logger  // default: none
}

// Provisioner makes and removes directories. Make it with [New].
type Provisioner struct {
	log     *slog.Logger
	clients *clients

	mu   sync.Mutex               // guards busy
	busy map[string]chan struct{} // by directory; closed when the operation ends
}

// New returns a Provisioner. It uses no network.
func New(cfg Config) (*Provisioner, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	base := uftp.Config{Dial: cfg.Dial, Logger: cfg.Logger}
	return &Provisioner{
		log:     cfg.Logger,
		clients: newClients(base, func(c uftp.Config) (remote, error) { return uftp.New(c) }),
		busy:    map[string]chan struct{}{},
	}, nil
}

// Close gives all sessions back. Operations that run fail.
func (p *Provisioner) Close() error { return p.clients.close() }

// Locate says how to reach the server of a volume: Path is the base directory.
// It is fs.ErrNotExist for an id that is not of this driver's making.
func (p *Provisioner) Locate(id string) (volume.Spec, error) {
	v, err := parseID(id)
	return v.spec, err
}

// Lookup finds the directory of a volume; fs.ErrNotExist if there is none.
func (p *Provisioner) Lookup(ctx context.Context, id string, access uftp.Access) (volume.Provisioned, error) {
	v, err := parseID(id)
	if err != nil {
		return volume.Provisioned{}, err
	}
	var found volume.Provisioned
	err = p.with(ctx, v, access, func(r remote) error {
		m, err := own(ctx, r, v)
		if err != nil {
			return err
		}
		if _, err := r.Stat(ctx, v.directory); err != nil {
			return err
		}
		found = volume.Provisioned{ID: id, Path: v.path(), Size: m.Size}
		return nil
	})
	return found, err
}

// Resize records that the volume has at least so many bytes, and returns how many
// it has; fs.ErrNotExist if there is no such volume. Nothing enforces it.
func (p *Provisioner) Resize(ctx context.Context, id string, size int64, access uftp.Access) (int64, error) {
	v, err := parseID(id)
	if err != nil {
		return 0, err
	}
	err = p.with(ctx, v, access, func(r remote) error {
		m, err := own(ctx, r, v)
		if err != nil {
			return err
		}
		if size <= m.Size {
			size = m.Size
			return nil
		}
		m.Size = size
		return writeMarker(ctx, r, v, m)
	})
	return size, err
}

// own returns the marker of a volume, or fs.ErrNotExist if there is none, or if
// it is another volume's.
func own(ctx context.Context, r remote, id volumeID) (marker, error) {
	m, ok, err := readMarker(ctx, r, id)
	if err == nil && (!ok || m.ID != id.String()) {
		err = fmt.Errorf("volume %q: %w", id.String(), fs.ErrNotExist)
	}
	return m, err
}

// with calls f with a client for the volume's base directory, once nobody else
// works on the volume's directory, for this volume or for another one.
func (p *Provisioner) with(ctx context.Context, id volumeID, access uftp.Access, f func(remote) error) error {
	unlock, err := p.lock(ctx, id.spec.AuthURL+"\x00"+id.path())
	if err != nil {
		return fmt.Errorf("volume %q: %w", id.String(), err)
	}
	defer unlock()
	r, release, err := p.clients.acquire(id.spec, access)
	if err != nil {
		return err
	}
	defer release()
	// An error here is about credentials, server or base directory, and comes at
	// once; one of the operations below would first wait for better times.
	if err := r.Connect(ctx); err != nil {
		return err
	}
	return f(r)
}

// lock waits until nobody works on a directory.
func (p *Provisioner) lock(ctx context.Context, directory string) (unlock func(), err error) {
	for {
		p.mu.Lock()
		wait, taken := p.busy[directory]
		if !taken {
			done := make(chan struct{})
			p.busy[directory] = done
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				delete(p.busy, directory)
				p.mu.Unlock()
				close(done)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// exists reports whether there is something at path.
func exists(ctx context.Context, r remote, path string) (bool, error) {
	_, err := r.Stat(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// unless returns err, unless it is the one that does not matter.
func unless(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
