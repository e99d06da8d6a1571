package keeper

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// Config configures a [Keeper]. The zero value of each field but Logger is its
// default.
type Config struct {
	Logger *slog.Logger // required
	// Command starts a worker; default /proc/self/exe worker.
	Command []string
	// WorkerUID and WorkerGID run the workers if the keeper is root; default
	// 65534 each. Another keeper's workers run as the keeper's own user.
	WorkerUID, WorkerGID uint32
	// Env is the workers' whole environment, as os.Environ writes it. Default:
	// what the keeper has of SSL_CERT_FILE and SSL_CERT_DIR.
	Env []string
	// Stderr is where workers log; default os.Stderr.
	Stderr *os.File
	// AllowUIDs may connect besides root. The keeper's own user may too, but
	// gets no more than a greeting: the workers of a keeper that is not root
	// have the same user.
	AllowUIDs []uint32
	// Writable are the directories below which workers may change files: where
	// the kernel has Landlock all others are closed to them. They need one only
	// for a volume that has a cacheDir, which must be one of these.
	Writable []string
	// CacheDirSize bounds what a volume may ask for as its cacheDirSize, in
	// bytes; default: nothing does.
	CacheDirSize int64
	// MaxMounts bounds the mounts; default 1024.
	MaxMounts int
}

// ErrStopping is the error of [Client.Create] when the keeper waits for its workers to
// end, and takes no new ones.
var ErrStopping = wire.ErrStopping

// WorkerID is the user and group of the workers of a keeper that is root, unless
// its Config says otherwise: nobody.
const WorkerID = 65534

func (c Config) withDefaults() Config {
	if len(c.Command) == 0 {
		c.Command = []string{"/proc/self/exe", "worker"}
	}
	if c.WorkerUID == 0 {
		c.WorkerUID = WorkerID
	}
	if c.WorkerGID == 0 {
		c.WorkerGID = WorkerID
	}
	if c.Env == nil {
		c.Env = []string{}
		for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
			if v, ok := os.LookupEnv(name); ok {
				c.Env = append(c.Env, name+"="+v)
			}
		}
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if c.MaxMounts == 0 {
		c.MaxMounts = 1024
	}
	return c
}

// Keeper holds the mounts. Its lock is held for memory only.
type Keeper struct {
	cfg Config
	log *slog.Logger
	key []byte

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	group  sync.WaitGroup // connections and the watchers of workers

	mu     sync.Mutex // guards what follows
	mounts map[string]*mount
	peers  map[*wire.Peer]struct{}
	closed bool
}

// mount is what the keeper keeps of one mount.
type mount struct {
	name    string
	spec    volume.Spec
	process *process

	// Guarded by Keeper.mu:
	note        json.RawMessage
	device      *wire.FD // nil until it is served
	init, reply []byte
	removing    bool // somebody asked for its end
}

// New makes a keeper without mounts.
func New(cfg Config) (*Keeper, error) {
	if cfg.Logger == nil {
		return nil, errors.New("keeper: no logger")
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	ctx, cancel := context.WithCancel(context.Background())
	return &Keeper{
		cfg:    cfg.withDefaults(),
		log:    cfg.Logger,
		key:    key,
		ctx:    ctx,
		cancel: cancel,
		mounts: make(map[string]*mount),
		peers:  make(map[*wire.Peer]struct{}),
	}, nil
}

// closeGrace is how long [Keeper.Close] waits for uploads if its context does
// not say otherwise.
const closeGrace = 5 * time.Minute

// Close ends the connections and stops every worker: each uploads what it has
// and ends, or is killed when ctx ends.
func (k *Keeper) Close(ctx context.Context) error {
	k.mu.Lock()
	k.closed = true
	var all []*mount
	for _, m := range k.mounts {
		m.removing = true
		all = append(all, m)
	}
	k.mu.Unlock()
	var stops sync.WaitGroup
	for _, m := range all {
		stops.Go(func() { m.process.stop(ctx, 0, closeGrace) })
	}
	stops.Wait()
	k.cancel()
	k.group.Wait()
	return nil
}

// Serve accepts node processes on l until ctx ends, and closes l. See [Listen].
// It makes the process one that cannot be traced, and leaves no core files: it
// holds the credentials and devices of all mounts, and its workers may have the
// same user.
func (k *Keeper) Serve(ctx context.Context, l *net.UnixListener) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_DUMPABLE: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer func() { _ = l.Close() }()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !scarce(err) {
				return fmt.Errorf("accept: %w", err)
			}
			// No reason to end the mounts. Whoever connects waits.
			k.log.Warn("accept", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		may, err := k.admit(c)
		if err != nil {
			k.log.Warn("connection refused", "err", err)
			_ = c.Close()
			continue
		}
		//nolint:contextcheck // a connection lives as long as the keeper, not as the listener
		if !k.serveConn(c, may) {
			return nil
		}
	}
}

// acceptPause is the wait for descriptors or memory that others use.
const acceptPause = 100 * time.Millisecond

// scarce reports whether err is about something that may be there a moment later.
func scarce(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// access is what a connection may do.
type access int

const (
	greet  access = iota // find out that the keeper lives
	manage               // everything
)

// admit lets in root and those that the configuration names, and our own user
// for a greeting: that is what the probe of the keeper's container does.
func (k *Keeper) admit(c *net.UnixConn) (access, error) {
	uid, err := peerUID(c)
	switch {
	case err != nil:
		return 0, err
	case uid == 0 || slices.Contains(k.cfg.AllowUIDs, uid):
		return manage, nil
	case int64(uid) == int64(os.Geteuid()):
		return greet, nil
	}
	return 0, fmt.Errorf("user %d: %w", uid, fs.ErrPermission)
}

// ServeConn serves one node process in the background until its connection or
// the keeper ends. It reports false, and closes c, if the keeper has ended.
func (k *Keeper) ServeConn(c *net.UnixConn) bool { return k.serveConn(c, manage) }

func (k *Keeper) serveConn(c *net.UnixConn, may access) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		_ = c.Close()
		return false
	}
	node := &nodeConn{keeper: k, may: may, created: make(map[string]struct{})}
	peer := wire.NewPeer(k.ctx, c, wire.PeerConfig{Handle: node.handle, Files: 1})
	if may == manage {
		k.peers[peer] = struct{}{} // who is told of deaths
	}
	k.group.Go(func() {
		<-peer.Done()
		k.mu.Lock()
		delete(k.peers, peer)
		k.mu.Unlock()
		node.abandon()
	})
	return true
}

// lookup returns a mount that is not on its way out.
func (k *Keeper) lookup(name string) (*mount, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, ok := k.mounts[name]
	if !ok || m.removing {
		if k.closed {
			return nil, ErrStopping // which is why
		}
		return nil, fmt.Errorf("mount %s: %w", name, fs.ErrNotExist)
	}
	return m, nil
}

// add enters a mount, whose worker runs, into the table and watches it.
func (k *Keeper) add(m *mount) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return ErrStopping
	case k.mounts[m.name] != nil:
		return fmt.Errorf("mount %s: %w", m.name, fs.ErrExist)
	case len(k.mounts) >= k.cfg.MaxMounts:
		return fmt.Errorf("already %d mounts", len(k.mounts))
	}
	k.mounts[m.name] = m
	k.group.Go(func() {
		<-m.process.exited
		k.workerEnded(m)
	})
	return nil
}
