package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/spool"
	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// Config says what an FS shows and how. Remote is needed, and Spec, of which
// what says where the volume is is not looked at.
type Config struct {
	Remote Remote
	Spec   volume.Spec
	Logger *slog.Logger // default: discards
	Disk   Disk         // default: none, what was read is in memory only

	// InterruptGrace is for how long a request goes on after its caller got a
	// signal, before it gives up. Default 1 s.
	InterruptGrace time.Duration
	// WriteBackDelay is for how long a little dirty data may wait for more
	// before it is uploaded. Default 5 s.
	WriteBackDelay time.Duration
	// RetryDelay is how long a failed upload waits for its first retry; later
	// ones wait longer. Default 1 s.
	RetryDelay time.Duration
	// RoundTrip says how far away the server is, 0 if that is not known. Default:
	// it never is.
	RoundTrip func() time.Duration
	// Reach says how many bytes to ask for ahead of who reads a file in order, so
	// that the way to the server is busy. Default: as many as it takes not to wait.
	Reach func() int64
}

// FS is the file system of a mount. Its exported methods beyond those of
// [fuse.RawFileSystem] are safe at any time.
type FS struct {
	// RawFileSystem answers ENOSYS to what is not implemented, which the kernel
	// takes for "never ask again": xattrs, SEEK_DATA, copy_file_range, statx,
	// ioctl, O_TMPFILE, access (the kernel checks modes, default_permissions).
	fuse.RawFileSystem

	spec   volume.Spec
	cfg    Config
	log    *slog.Logger
	server bounded

	ctx    context.Context // of everything that no caller may interrupt
	cancel context.CancelFunc
	group  sync.WaitGroup // writeback, reading ahead

	forget    atomic.Pointer[func(uint64)] // see Notify
	clock     atomic.Uint64                // see tick
	tree      *tree
	handles   *handles
	spool     *spool.Spool
	ahead     ahead
	completer completer
	backer    atomic.Pointer[Backer] // see PassThrough
	passing   struct{ files, opens, refused, replaced atomic.Int64 }
	cache     *blockcache.Cache
	back      *writeback
}

// Stats is a snapshot of an FS.
type Stats struct {
	Nodes, Handles int
	Cache          blockcache.Stats
	Spool          spool.Stats
	Passthrough    PassthroughStats
	// Failing holds, by path, the error of each file whose last upload failed.
	// Its data is kept and tried again.
	Failing map[string]error
}

// New asks the server for the volume's root and returns its file system. The
// caller mounts and serves it, and ends it with [FS.Drain] and [FS.Close].
func New(ctx context.Context, cfg Config) (*FS, error) {
	if cfg.Remote == nil {
		return nil, errors.New("fusefs: no remote")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.RoundTrip == nil {
		cfg.RoundTrip = func() time.Duration { return 0 }
	}
	setDefault(&cfg.InterruptGrace, time.Second)
	setDefault(&cfg.WriteBackDelay, 5*time.Second)
	setDefault(&cfg.RetryDelay, time.Second)
	setDefault(&cfg.Spec.IOTimeout, 5*time.Minute)
	setDefault(&cfg.Spec.BlockSize, 1<<20)
	setDefault(&cfg.Spec.CacheSize, 64<<20)
	setDefault(&cfg.Spec.DirtyLimit, 64<<20)

	fs := &FS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		spec:          cfg.Spec,
		cfg:           cfg,
		log:           cfg.Logger,
		server:        bounded{cfg.Remote, cfg.Spec.IOTimeout, new(atomic.Int64)},
		handles:       newHandles(),
		spool:         spool.New(cfg.Spec.DirtyLimit - cfg.Spec.DirtyLimit/onTheWay),
		back:          newWriteback(),
		ahead:         ahead{window: minAhead},
	}
	root, err := fs.server.Stat(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("stat the volume's root: %w", err)
	}
	if !root.IsDir() {
		return nil, fmt.Errorf("the volume's root: %w", errNotDir)
	}
	fs.tree = newTree(root)
	cacheConfig := blockcache.Config{Fetch: fs.fetch, Budget: cfg.Spec.CacheSize, BlockSize: cfg.Spec.BlockSize,
		RoundTrip: cfg.RoundTrip, Reach: cfg.Reach}
	if cfg.Disk != nil {
		cacheConfig.Tier = diskTier{fs, cfg.Disk}
	}
	fs.cache, err = blockcache.New(cacheConfig)
	if err != nil {
		return nil, err
	}
	// Nobody waits in New, and what runs from now on ends with Close.
	fs.ctx, fs.cancel = context.WithCancel(context.WithoutCancel(ctx))
	fs.group.Go(fs.writeBack)
	return fs, nil
}

func setDefault[T ~int64](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// Notify gives the file system the way to have the kernel forget a node's
// attributes. Without one an open file may seem to end where it ended before,
// for as long as attributes are believed.
func (fs *FS) Notify(forget func(node uint64)) { fs.forget.Store(&forget) }

// Init is called by go-fuse's own server.
func (fs *FS) Init(s *fuse.Server) {
	fs.Notify(func(node uint64) { _ = s.InodeNotify(node, -1, 0) }) // that it is gone is fine, too
}

// Close stops what goes on in the background, waits for it, and lets go of the
// data that was not uploaded: call [FS.Drain] before.
func (fs *FS) Close() error {
	fs.cancel()
	err := fs.cache.Close()
	fs.group.Wait()
	return err
}

// Stats returns a snapshot. It asks nobody.
func (fs *FS) Stats() Stats {
	return Stats{
		Nodes:   fs.tree.len(),
		Handles: fs.handles.len(),
		Cache:   fs.cache.Stats(),
		Spool:   fs.spool.Stats(),
		Passthrough: PassthroughStats{
			Files: fs.passing.files.Load(), Opens: fs.passing.opens.Load(),
			Refused: fs.passing.refused.Load(), Replaced: fs.passing.replaced.Load(),
		},
		Failing: fs.failing(),
	}
}

// String names the file system for go-fuse.
func (fs *FS) String() string { return "uftp" }

// tick returns a time that is later than all before. What is asked after one
// thing happened and before another carries a tick between theirs.
func (fs *FS) tick() uint64 { return fs.clock.Add(1) }
