package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/csi-uftp/csi-uftp/mounter"
)

// statsSignal returns what comes when somebody asks for the counters. If there
// is no file for them, SIGUSR1 does what it does to other programs.
func statsSignal(file string) (asked <-chan os.Signal, done func()) {
	if file == "" {
		return nil, func() {}
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}

// writeStats replaces the file with the counters, so that nobody reads half of
// them. It is asked for while the mount works, and before it is unmounted; a
// mount that is gone has nothing to tell any more.
func writeStats(ctx context.Context, m *mounter.Manager, job mountJob) error {
	if job.StatsFile == "" {
		return nil
	}
	stats, err := m.Stats(ctx, mountID, job.Dir)
	if err != nil || stats.Counters == nil {
		return nil //nolint:nilerr // see above
	}
	text, err := json.MarshalIndent(stats.Counters, "", "  ")
	if err != nil {
		return err
	}
	partial := job.StatsFile + ".new"
	if err := os.WriteFile(partial, append(text, '\n'), 0o644); err != nil { //nolint:gosec // numbers for everybody
		return fmt.Errorf("--stats-file: %w", err)
	}
	return os.Rename(partial, job.StatsFile)
}
