package provisioner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// remote is what the provisioner needs of a [uftp.Client].
type remote interface {
	Connect(ctx context.Context) error
	Stat(ctx context.Context, path string) (uftp.Info, error)
	List(ctx context.Context, dir string) ([]uftp.Info, error)
	Mkdir(ctx context.Context, path string) error
	Rmdir(ctx context.Context, path string) error
	Remove(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string) error
	Chmod(ctx context.Context, path string, mode fs.FileMode) error
	Create(ctx context.Context, path string) (uftp.Info, error)
	ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error)
	WriteAt(ctx context.Context, path string, p []byte, off int64) (int, error)
	Close() error
}

const (
	// sessions of one client: a tree is removed with that many at a time.
	sessions = 4
	// sessionIdle is how long a session waits for the next operation. A burst of
	// volumes shares sessions: each one given back counts against the user's
	// limit for some seconds more.
	sessionIdle = 10 * time.Second
	// clientIdle is how long a client without sessions is kept.
	clientIdle = time.Minute
	// ioTimeout makes the real cause known before the caller gives up, which
	// csi-provisioner does after a minute or less.
	ioTimeout = 20 * time.Second
)

// clients shares one client between the operations for one base directory and
// identity.
type clients struct {
	dial func(uftp.Config) (remote, error)
	base uftp.Config // logger and dialer
	key  []byte      // for fingerprints

	ending sync.WaitGroup // clients that are being closed

	mu   sync.Mutex // guards the following; held for memory only
	open map[string]*sharedClient
	done bool
}

type sharedClient struct {
	remote
	users int
	last  time.Time // when users became 0
}

func newClients(base uftp.Config, dial func(uftp.Config) (remote, error)) *clients {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return &clients{dial: dial, base: base, key: key, open: map[string]*sharedClient{}}
}

// acquire returns the client for the base directory in spec; release must follow.
func (c *clients) acquire(spec volume.Spec, access uftp.Access) (r remote, release func(), err error) {
	key := strings.Join([]string{spec.AuthURL, spec.Path, spec.RemoteGroup, spec.ClientAddress,
		fmt.Sprint(spec.Insecure), access.Fingerprint(c.key)}, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil, nil, fmt.Errorf("provisioner: %w", fs.ErrClosed)
	}
	c.evict(clientIdle)
	s := c.open[key]
	if s == nil {
		cfg := c.base
		cfg.AuthURL, cfg.Access, cfg.Insecure = spec.AuthURL, access, spec.Insecure
		cfg.BaseDir, cfg.Group, cfg.ClientAddress = spec.Path, spec.RemoteGroup, spec.ClientAddress
		cfg.MaxSessions, cfg.IdleTimeout, cfg.IOTimeout = sessions, sessionIdle, ioTimeout
		r, err := c.dial(cfg)
		if err != nil {
			return nil, nil, err
		}
		s = &sharedClient{remote: r}
		c.open[key] = s
	}
	s.users++
	return s, sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.users--
		s.last = time.Now()
	}), nil
}

// evict ends the clients that were idle for so long. Nobody waits for them: the
// server may be away. c.mu is held.
func (c *clients) evict(idle time.Duration) {
	for key, s := range c.open {
		if s.users == 0 && time.Since(s.last) >= idle {
			delete(c.open, key)
			c.ending.Go(func() { _ = s.Close() })
		}
	}
}

// close ends all clients, and the operations that use them.
func (c *clients) close() error {
	c.mu.Lock()
	c.done = true
	all := c.open
	c.open = map[string]*sharedClient{}
	c.mu.Unlock()
	var errs []error
	for _, s := range all {
		errs = append(errs, s.Close())
	}
	c.ending.Wait()
	return errors.Join(errs...)
}
