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
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
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

func copyFile(ctx context.Context, w io.Writer, c *uftp.Client, name string) error {
	info, err := c.Stat(ctx, name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%w: %q is a directory; use csi-uftp ls", fs.ErrInvalid, name)
	}
	return copyOut(ctx, w, c, name, nil)
}

// rangeStep is how much of a range is asked for at a time.
const rangeStep = 4 << 20

// copyOut writes a file, or a range of it, to w.
func copyOut(ctx context.Context, w io.Writer, c *uftp.Client, name string, span *transfer.Range) error {
	if span == nil {
		return copyWhole(ctx, w, c, name)
	}
	buf := make([]byte, rangeStep)
	for off, end := span.Offset, span.Offset+span.Length; off < end; {
		n, err := c.ReadAt(ctx, name, buf[:min(rangeStep, end-off)], off)
		off += int64(n)
		if _, werr := w.Write(buf[:n]); errors.Is(werr, syscall.EPIPE) {
			return codeError(exitFailure) // the reader has had enough; it knows
		} else if werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyWhole(ctx context.Context, w io.Writer, c *uftp.Client, name string) (err error) {
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
