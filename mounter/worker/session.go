package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// FileSystem is what a worker serves: [fusefs.FS].
type FileSystem interface {
	fuse.RawFileSystem
	// Drain returns when everything written is at the server.
	Drain(ctx context.Context) error
	// Notify gives it the way to have the kernel forget a node's attributes.
	Notify(forget func(node uint64))
}

// Volume is a directory of a server, reached and ready to be served.
type Volume struct {
	FS FileSystem
	// Prove asks the auth service whether it accepts a credential, and returns
	// who it is there. It takes none of the user's sessions.
	Prove func(context.Context, uftp.Access) (identity string, err error)
	// Update replaces the credential for the next time one is needed.
	Update func(uftp.Access)
	// Counters tells what it has done so far. Nil is none.
	Counters func() map[string]int64
	// Held tells how many bytes of the heap it needs for what has no bound. Nil is
	// none.
	Held func() int64
	// Passthrough says that the kernel may be told to read files itself: there
	// is a disk that has some.
	Passthrough bool
	// Close gives everything back.
	Close func() error
}

// Opener reaches the server: it authenticates, logs in and checks that the root
// is a directory. Its error says what the user has to know.
type Opener func(context.Context, volume.Spec, uftp.Access, *slog.Logger) (*Volume, error)

// session is what the keeper's calls work on.
type session struct {
	open   Opener
	turn   chan struct{} // holds one token: who has it starts, serves or refreshes
	backer *backer

	// Whoever has the turn works with these.
	identity string // who the credential in use is, "" if not known
	memory   memory // what start has found
	loop     *loop
	serving  chan *loop // gets the loop when it is to run; room for one

	mu  sync.Mutex // guards what follows, and is held for memory only
	log *slog.Logger
	vol *Volume
}

func (s *session) handle(ctx context.Context, r *wire.Request) (any, []*wire.FD, error) {
	switch r.Method {
	case wire.WorkerStart:
		return nil, nil, s.start(ctx, r)
	case wire.WorkerServe:
		reply, err := s.serve(ctx, r)
		return reply, nil, err
	case wire.WorkerRefresh:
		return nil, nil, s.refresh(ctx, r)
	case wire.WorkerStats:
		stats, err := s.stats(ctx)
		return stats, nil, err
	case wire.WorkerPass:
		return nil, nil, s.pass(ctx, r)
	}
	return nil, nil, fmt.Errorf("%s: %w", r.Method, errors.ErrUnsupported)
}

func newSession(open Opener, log *slog.Logger) *session {
	return &session{open: open, turn: make(chan struct{}, 1), backer: &backer{log: log}, log: log, serving: make(chan *loop, 1)}
}

// takeTurn waits until nothing else is changed.
func (s *session) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// takeAccess reads the credential beside a request and closes its descriptor.
func takeAccess(r *wire.Request) (uftp.Access, error) {
	f, err := r.Take(0)
	if err != nil {
		return uftp.Access{}, err
	}
	defer func() { _ = f.Close() }()
	data, err := wire.ReadSealed(f)
	if err != nil {
		return uftp.Access{}, fmt.Errorf("credential: %w", err)
	}
	access, err := uftp.UnmarshalAccess(data)
	clear(data)
	if err != nil {
		return uftp.Access{}, fmt.Errorf("credential: %w", err)
	}
	return access, nil
}

func (s *session) start(ctx context.Context, r *wire.Request) error {
	var p wire.StartParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	access, err := takeAccess(r)
	if err != nil {
		return err
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := s.volume(); err == nil {
		return errors.New("already started")
	}
	s.memory = memory{bounded: p.Spec.DirtyLimit + memoryHeadroom}
	s.memory.limit()
	log := s.logger().With("mount", p.Name)
	vol, err := s.open(ctx, p.Spec, access, log)
	if err != nil {
		return err
	}
	identity, err := vol.Prove(ctx, access)
	if err != nil {
		// It works, so this is odd, but it only means that later credentials
		// cannot be compared with this one.
		log.Warn("the auth service does not say who we are", "err", err)
	}
	s.identity, s.memory.held = identity, vol.Held
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.vol = log, vol
	return nil
}

func (s *session) serve(ctx context.Context, r *wire.Request) (*wire.ServeResult, error) {
	var p wire.ServeParams
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	device, err := r.Take(0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = device.Close() }()
	done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	vol, err := s.volume()
	if err != nil {
		return nil, err
	}
	if s.loop != nil {
		return nil, errors.New("serving already")
	}
	files, passthrough := vol.FS.(passer)
	l := newLoop(vol.FS, s.logger(), passthrough && vol.Passthrough)
	vol.FS.Notify(l.forget)
	reply, err := l.negotiate(p.Init)
	if err != nil {
		return nil, err
	}
	if err := l.attach(device); err != nil {
		return nil, err
	}
	s.loop = l
	if l.passes {
		files.PassThrough(s.backer)
	}
	s.serving <- l
	return &wire.ServeResult{Reply: reply}, nil
}

// refresh proves a credential, and uses it if told so. A credential of somebody
// else is proved, but never put in the place of the one the mount was made
// with: the pods that share the mount would become somebody else.
func (s *session) refresh(ctx context.Context, r *wire.Request) error {
	var p wire.RefreshParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	access, err := takeAccess(r)
	if err != nil {
		return err
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	vol, err := s.volume()
	if err != nil {
		return err
	}
	identity, err := vol.Prove(ctx, access)
	if err != nil {
		return err
	}
	// If we do not know who the first credential is, the node's word has to do
	// that this one is the same; another one cannot take its place then.
	if identity != s.identity && (p.Apply || s.identity != "") {
		return fmt.Errorf("credential of %q on a mount of %q: %w", identity, s.identity, fs.ErrPermission)
	}
	if p.Apply {
		vol.Update(access)
		s.logger().Info("credential replaced", "identity", identity)
	}
	return nil
}

// pass takes the socket to the node over which files are passed to the kernel,
// instead of the one that there was.
func (s *session) pass(ctx context.Context, r *wire.Request) error {
	socket, err := r.Take(0)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.loop == nil || !s.loop.passes {
		return fmt.Errorf("pass files through: %w", errors.ErrUnsupported)
	}
	return s.backer.connect(ctx, socket)
}

func (s *session) logger() *slog.Logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log
}

func (s *session) volume() (*Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vol == nil {
		return nil, errors.New("not started")
	}
	return s.vol, nil
}

// stats asks the file system as the kernel would.
func (s *session) stats(ctx context.Context) (volume.Stats, error) {
	vol, err := s.volume()
	if err != nil {
		return volume.Stats{}, err
	}
	var out fuse.StatfsOut
	if status := vol.FS.StatFs(ctx.Done(), &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, &out); !status.Ok() {
		return volume.Stats{}, fmt.Errorf("statfs: %v", status)
	}
	size := int64(out.Frsize)
	if size == 0 {
		size = int64(out.Bsize)
	}
	//nolint:gosec // sizes of file systems fit
	stats := volume.Stats{
		TotalBytes:      int64(out.Blocks) * size,
		AvailableBytes:  int64(out.Bavail) * size,
		UsedBytes:       int64(out.Blocks-out.Bfree) * size,
		TotalInodes:     int64(out.Files),
		AvailableInodes: int64(out.Ffree),
		UsedInodes:      int64(out.Files - out.Ffree),
	}
	if vol.Counters != nil {
		stats.Counters = vol.Counters()
	}
	return stats, nil
}
