package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/provisioner"
)

func newController(a *app) *cobra.Command {
	var endpoint string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Serve the CSI controller service",
		Long: `Makes and removes the directories of dynamic volumes over UFTP. It mounts nothing
and needs no privileges. csi-provisioner, in the same pod, calls it.`,
		Example: "  csi-uftp controller --endpoint unix:///csi/csi.sock",
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.controller(cmd.Context(), endpoint) },
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "unix:///csi/csi.sock", "`URL` of the CSI socket")
	return cmd
}

func (a *app) controller(ctx context.Context, endpoint string) (err error) {
	logger, err := a.serviceLogger()
	if err != nil {
		return err
	}
	credentials, err := newCredentials(logger)
	if err != nil {
		return err
	}
	p, err := provisioner.New(provisioner.Config{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	d, err := driver.New(driver.Config{
		Version: version, Endpoint: endpoint, Provisioner: p, Credentials: credentials, Logger: logger,
	})
	if err != nil {
		return usageErrorf("%v", err)
	}
	logger.Info("controller service started", "version", version, "endpoint", endpoint)
	return d.Run(ctx)
}
