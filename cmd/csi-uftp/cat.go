package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newCat(a *app) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "cat URL",
		Short: "Print a file on a UFTP server",
		Long:  "Writes a file's content to the standard output, as it arrives.",
		Example: `  csi-uftp cat --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data/README
  csi-uftp cat --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data/archive.tar | tar -tv`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withRemote(cmd.Context(), args[0], &f, func(ctx context.Context, c *uftp.Client, name string) error {
				return copyFile(ctx, a.stdout, c, name)
			})
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	return cmd
}

func copyFile(ctx context.Context, w io.Writer, c *uftp.Client, name string) (err error) {
	info, err := c.Stat(ctx, name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%w: %q is a directory; use csi-uftp ls", fs.ErrInvalid, name)
	}
	r, info, err := c.Get(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	n, err := io.Copy(w, r)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return codeError(exitFailure) // the reader has had enough; it knows
	case err != nil:
		return err
	case n != info.Size:
		return fmt.Errorf("%w: %q ended after %d of %d bytes", uftp.ErrUnavailable, name, n, info.Size)
	}
	return nil
}
