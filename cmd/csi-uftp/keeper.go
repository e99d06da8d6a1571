package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

func newKeeper(a *app) *cobra.Command {
	var socket string
	var cache cacheFlags
	var check bool
	var drain time.Duration
	cmd := &cobra.Command{
		Use:   "keeper",
		Short: "Start and watch the processes that serve mounts",
		Long: `Runs beside "csi-uftp node" on every machine, without privileges: it starts one
worker process for each mount that the node asks for. The workers talk to the
UFTP servers and hold the caches.

On SIGTERM every worker uploads what was written and ends; its mount ends too.`,
		Example: `  csi-uftp keeper --socket /run/csi-uftp/keeper.sock
  csi-uftp keeper --socket /run/csi-uftp/keeper.sock --check`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return checkKeeper(cmd.Context(), socket)
			}
			return a.runKeeper(cmd.Context(), socket, cache, drain)
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "/run/csi-uftp/keeper.sock", "`PATH` of the socket that the node connects to")
	cmd.Flags().StringVar(&cache.dir, "cache-dir", "", "`DIR` that volumes may name in cacheDir; without, none may have a disk cache")
	cmd.Flags().StringVar(&cache.size, "cache-dir-size", "", "`SIZE` that a volume may have in cacheDirSize at most, such as 10Gi; without, any")
	cmd.Flags().DurationVar(&drain, "drain-timeout", 2*time.Minute, "how long workers may upload at the end")
	cmd.Flags().BoolVar(&check, "check", false, "ask the running keeper whether it answers, and exit")
	return cmd
}

func (a *app) runKeeper(ctx context.Context, socket string, cache cacheFlags, drain time.Duration) error {
	logger, err := a.serviceLogger()
	if err != nil {
		return err
	}
	cfg := keeper.Config{Logger: logger, Command: workerCommand(a, slog.LevelInfo)}
	if err := cache.apply(&cfg); err != nil {
		return err
	}
	k, err := keeper.New(cfg)
	if err != nil {
		return err
	}
	l, err := keeper.Listen(socket)
	if err != nil {
		return err
	}
	logger.Info("keeper started", "version", version, "socket", socket)
	serveErr := k.Serve(ctx, l)
	logger.Info("keeper stopping")
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return errors.Join(serveErr, k.Close(closing))
}

// cacheFlags say where volumes may have a disk cache, and how large.
type cacheFlags struct{ dir, size string }

func (f cacheFlags) apply(cfg *keeper.Config) error {
	if f.dir != "" {
		if info, err := os.Stat(f.dir); err != nil || !info.IsDir() {
			return usageErrorf("--cache-dir=%s is not a directory", f.dir)
		}
		cfg.Writable = []string{filepath.Clean(f.dir)}
	}
	if f.size != "" {
		size, err := volume.ParseSize(f.size)
		if err != nil || size <= 0 {
			return usageErrorf("--cache-dir-size=%s: must be a size such as 10Gi", f.size)
		}
		cfg.CacheDirSize = size
	}
	return nil
}

// workerCommand starts this program as a worker that logs as we do.
func workerCommand(a *app, level slog.Level) []string {
	return append([]string{"/proc/self/exe", "worker"}, logFlags(a, level)...)
}

// logFlags are the flags that make another process log as we do. level is what
// we log at unless --log-level says otherwise.
func logFlags(a *app, level slog.Level) []string {
	return []string{"--log-format=" + a.logFormat, "--log-level=" + cmp.Or(a.logLevel, level.String())}
}

// checkKeeper is the probe of the keeper's container.
func checkKeeper(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := keeper.Dial(ctx, socket)
	if err != nil {
		return fmt.Errorf("no keeper answers at %s: %v", socket, err) //nolint:errorlint // its kind would read as a remote path's
	}
	return c.Close()
}
