package mounter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// ErrInProgress means that another operation on the same target is running. It
// is the one that the driver knows.
var ErrInProgress = volume.ErrInProgress

// Config configures a [Manager].
type Config struct {
	// PluginDir is the driver's own directory; mounts live below it. Unused
	// with Direct.
	PluginDir string
	// Connect opens a connection to the keeper: [keeper.Dial] or
	// [keeper.NewLocal].
	Connect func(context.Context) (*keeper.Client, error)
	Logger  *slog.Logger
	// Direct mounts at the target itself, an existing directory that stays as
	// it is: for a person's mount. Nothing is shared. Without root the mount
	// is made by fusermount3, for the person alone.
	Direct bool
	// ProbeTimeout bounds the round trip through a new mount; 0 is 5 s.
	ProbeTimeout time.Duration
	// DrainTimeout bounds the upload of what is left when a mount ends; 0 is
	// 1 minute. After it the worker is told to end, and after as much again
	// killed.
	DrainTimeout time.Duration
	// ReadAhead is the kernel's read-ahead on a mount in bytes; 0 is 4 MiB.
	ReadAhead int
}

// Manager publishes volumes. It implements driver.Mounter.
type Manager struct {
	cfg Config
	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	group  sync.WaitGroup // the watcher of the keeper, tear-downs

	connecting chan struct{} // holds one token: who has it may connect
	lock       *wire.FD      // makes us the only manager of the plugin directory; nil with Direct

	mu      sync.Mutex // guards what follows, and is held for memory only
	client  *keeper.Client
	mounts  map[string]*mount       // by name
	targets map[string]*publication // by target
	busy    map[string]struct{}     // targets with an operation
}

// mount is one superblock and the worker behind it. Manager.mu guards it, but
// for what says otherwise.
type mount struct {
	name    string // of the directory and at the keeper; never changes
	dir     string // where it is mounted; never changes
	spec    volume.Spec
	private string // the target that it is kept to, "" if shared

	ready chan struct{} // closed when the mount is made or err is set
	err   error
	over  chan struct{} // closed when ended is set

	match       string // what a publication must have in common with it to share it
	fingerprint string // of the credential in use
	refused     string // of the last that was not accepted
	refusedAt   time.Time
	device      *wire.FD
	dev         string     // MAJ:MIN
	passing     *wire.Peer // the worker's, for files that the kernel reads itself; nil if it asks for none
	used        bool       // it was made, and somebody may have written to it
	users       int        // publications, also those under way
	ended       string     // why it serves no more, "" if it does
	clean       bool       // nothing is lost by that
	orphan      bool       // the keeper does not know it (any more): nobody watches the worker
	closing     bool       // being torn down: not to be shared any more

	noting chan struct{} // holds one token: who has it may write the note
}

// publication is a target in use.
type publication struct {
	volume.Publication
	mount *mount      // nil while it is looked for
	bound bool        // shown at the target
	asked volume.Spec // settings it was asked for and does not have, if any; whoever works on the target has it
}

// New makes a manager. It does nothing until it is used; [Manager.Recover]
// takes over what an earlier process left.
func New(cfg Config) (*Manager, error) {
	if cfg.Connect == nil || cfg.Logger == nil {
		return nil, errors.New("mounter: Connect and Logger are required")
	}
	if !cfg.Direct && !filepath.IsAbs(cfg.PluginDir) {
		return nil, fmt.Errorf("mounter: plugin directory %q is not absolute", cfg.PluginDir)
	}
	if cfg.ProbeTimeout == 0 {
		cfg.ProbeTimeout = 5 * time.Second
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = time.Minute
	}
	if cfg.ReadAhead == 0 {
		cfg.ReadAhead = 4 << 20
	}
	var lock *wire.FD
	if !cfg.Direct {
		var err error
		if cfg.PluginDir, lock, err = claim(cfg.PluginDir); err != nil {
			return nil, fmt.Errorf("mounter: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		cfg:        cfg,
		log:        cfg.Logger,
		ctx:        ctx,
		cancel:     cancel,
		connecting: make(chan struct{}, 1),
		lock:       lock,
		mounts:     make(map[string]*mount),
		targets:    make(map[string]*publication),
		busy:       make(map[string]struct{}),
	}
	return m, nil
}

// mountsDir is below the plugin directory.
const mountsDir = "mounts"

// claim makes the plugin directory and takes it for this manager alone, until
// the lock is closed or the process ends. A second one would take mounts that
// are just being made for left-overs. The path it returns has no links in it,
// as those in mountinfo.
func claim(dir string) (string, *wire.FD, error) {
	mounts := filepath.Join(dir, mountsDir)
	if err := os.MkdirAll(mounts, 0o700); err != nil {
		return "", nil, err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", nil, err
	}
	n, err := unix.Open(mounts, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: mounts, Err: err}
	}
	lock := wire.NewFD(n)
	if err := unix.Flock(n, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, fmt.Errorf("another process manages the mounts in %s", mounts)
		}
		return "", nil, &os.PathError{Op: "lock", Path: mounts, Err: err}
	}
	return real, lock, nil
}

func (m *Manager) sourceDir(name string) string {
	return filepath.Join(m.cfg.PluginDir, mountsDir, name)
}

// Close lets go of everything and leaves all mounts as they are: the keeper and
// the workers go on, and the next process recovers them.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.cancel() // with the lock: connect starts nothing after it
	client := m.client
	m.mu.Unlock()
	if client != nil {
		_ = client.Close()
	}
	m.group.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mt := range m.mounts {
		_ = mt.device.Close()
	}
	_ = m.lock.Close()
	return nil
}

// lockTarget makes the caller the only one to work on a target.
func (m *Manager) lockTarget(target string) (unlock func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return nil, fmt.Errorf("mounter: %w", os.ErrClosed)
	}
	if _, ok := m.busy[target]; ok {
		return nil, fmt.Errorf("%s: %w", target, ErrInProgress)
	}
	m.busy[target] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.busy, target)
	}, nil
}

// resolve gives the target the name that mountinfo has for it, without touching
// the target itself, which may be a dead mount.
func resolve(target string) (string, error) {
	if !filepath.IsAbs(target) {
		return "", fmt.Errorf("target %q is not absolute: %w", target, os.ErrInvalid)
	}
	target = filepath.Clean(target)
	if target == "/" {
		return "", fmt.Errorf("target %q: %w", target, os.ErrInvalid)
	}
	parent, rest := filepath.Dir(target), filepath.Base(target)
	for {
		real, err := filepath.EvalSymlinks(parent)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || parent == "/" {
			return "", fmt.Errorf("target: %w", err)
		}
		parent, rest = filepath.Dir(parent), filepath.Join(filepath.Base(parent), rest)
	}
}
