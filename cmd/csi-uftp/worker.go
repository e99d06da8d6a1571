package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/mounter/worker"
)

func newWorker(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Short:  "Serve one mount (started by the keeper)",
		Hidden: true,
		Args:   exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := a.logger(slog.LevelInfo)
			if err != nil {
				return err
			}
			if code := worker.Run(cmd.Context(), worker.Config{Logger: logger}); code != worker.ExitClean {
				return codeError(code)
			}
			return nil
		},
	}
}
