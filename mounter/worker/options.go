package worker

import (
	"log"
	"log/slog"
	"runtime/debug"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// maxIO bounds one READ or WRITE, in bytes: what kernels allow without
	// tuning, and the max_read that the node mounts with.
	maxIO = 1 << 20
	// maxBackground bounds the asynchronous requests (read-ahead) that the
	// kernel has under way; at three quarters of it it slows read-ahead down.
	maxBackground = 64
)

// wanted is what we ask of the kernel, by name, so that a default of another
// go-fuse release changes nothing: what the first INIT reply of a mount says
// must hold for every later worker of it.
const wanted = fuse.CAP_ASYNC_READ | fuse.CAP_ASYNC_DIO | fuse.CAP_BIG_WRITES | fuse.CAP_MAX_PAGES |
	fuse.CAP_FILE_OPS | fuse.CAP_READDIRPLUS | fuse.CAP_PARALLEL_DIROPS | fuse.CAP_AUTO_INVAL_DATA

// Everything else that a kernel could offer and we could take is unwanted.
// Writeback would keep acknowledged bytes where no worker sees them; io_uring
// ties queues to a process; a request timeout aborts the whole mount when a
// server is slow. Passthrough is wanted where there may be something to pass.

// stackDepth is how deep the file systems may be stacked on which the kernel
// reads itself, ours included: those of disks, and not an overlay. Ours then
// counts as one that is on another, so that a deeper one could not be below an
// overlay any more.
const stackDepth = 1

// options returns what INIT is answered with. passthrough is whether the kernel
// may be told to read files itself.
func options(logger *slog.Logger, passthrough bool) *fuse.MountOptions {
	wanted, depth := uint64(wanted), 0
	if passthrough {
		wanted, depth = wanted|fuse.CAP_PASSTHROUGH, stackDepth
	}
	return &fuse.MountOptions{
		MaxWrite:             maxIO,
		MaxReadAhead:         maxIO,
		MaxBackground:        maxBackground,
		CongestionThreshold:  maxBackground * 3 / 4,
		ExtraCapabilities:    wanted,
		DisabledCapabilities: ^wanted,
		MaxStackDepth:        depth,
		Name:                 "uftp",
		Logger:               goFuseLogger(logger),
		PanicHandler: func(v any) fuse.Status {
			logger.Error("file system panicked", "panic", v, "stack", string(debug.Stack()))
			return fuse.EIO
		},
	}
}

// goFuseLogger makes go-fuse's complaints about requests warnings of ours.
func goFuseLogger(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.With("component", "go-fuse").Handler(), slog.LevelWarn)
}
