package worker

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// SocketFD is the descriptor of the socket to the keeper that a worker is born
// with. Number 3 is left to go-fuse, which occupies it when it is loaded.
const SocketFD = 4

// Exit codes of a worker. Anything else is a crash.
const (
	ExitClean   = 0 // everything written is at the server
	ExitSetup   = 1 // the process could not be set up
	ExitUndrain = 3 // something written could not be uploaded
)

// Config configures [Run].
type Config struct {
	Logger       *slog.Logger  // required
	Open         Opener        // nil is [OpenUFTP]
	DrainTimeout time.Duration // to upload what is left at the end; 0 is 2 minutes
}

// Run is the worker process: it serves the keeper's calls on [SocketFD] until
// the mount is gone, SIGTERM comes or ctx ends, and returns the exit code. It
// changes the process for good (core files, signals) and is called once.
func Run(ctx context.Context, cfg Config) int {
	if cfg.Open == nil {
		cfg.Open = OpenUFTP
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 2 * time.Minute
	}
	if err := harden(); err != nil {
		cfg.Logger.Error("worker setup", "err", err)
		return ExitSetup
	}
	conn, err := wire.FromFD(wire.NewFD(SocketFD))
	if err != nil {
		cfg.Logger.Error("worker setup", "err", err)
		return ExitSetup
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()

	s := newSession(cfg.Open, cfg.Logger)
	peer := wire.NewPeer(ctx, conn, wire.PeerConfig{Handle: s.handle, Files: 1})
	defer func() { _ = peer.Close() }()
	select {
	case l := <-s.serving:
		serveMount(ctx, s, l, peer)
	case <-peer.Done():
		select {
		case l := <-s.serving: // the last thing the keeper did
			serveMount(ctx, s, l, peer)
		default: // told to stop, or there will be no mount without a keeper
		}
	}
	return finish(context.WithoutCancel(ctx), s, cfg.DrainTimeout)
}

// serveMount returns when the mount is gone or ctx has ended and everything
// read from the device is answered.
func serveMount(ctx context.Context, s *session, l *loop, peer *wire.Peer) {
	log := s.logger()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		gone := l.run()
		log.Info("serving ended", "unmounted", gone)
	}()
	resting, wake := context.WithCancel(ctx)
	defer wake()
	go func() { // ends with wake
		if err := rest(resting, &l.served, giveBack); err != nil {
			log.Warn("an idle worker keeps more memory than it needs", "err", err)
		}
	}()
	eachCollection(resting, s.memory.limit)
	keeper := peer.Done()
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			l.stop()
			<-ended
			return
		case <-keeper:
			if ctx.Err() == nil {
				log.Warn("the keeper is gone; serving on without it")
			}
			keeper = nil
		}
	}
}

// finish uploads what is left and gives everything back.
func finish(ctx context.Context, s *session, timeout time.Duration) int {
	vol, err := s.volume()
	if err != nil {
		return ExitClean // nothing was ever mounted
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	code := ExitClean
	if err := vol.FS.Drain(ctx); err != nil {
		s.logger().Error("data written could not be uploaded", "err", err)
		code = ExitUndrain
	}
	if err := vol.Close(); err != nil {
		s.logger().Warn("closing", "err", err)
	}
	return code
}
