package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

func newChecksum(a *app) *cobra.Command {
	var f remoteFlags
	var algorithm, byteRange string
	cmd := &cobra.Command{
		Use:   "checksum URL...",
		Short: "Print checksums of files, as a UFTP server computes them",
		Long: `Prints checksums as sha256sum and its like do; no data is transferred. Operands
that are not URLs are files here.`,
		Example: `  csi-uftp checksum juelich:big.tar big.tar
  csi-uftp checksum --hash MD5 --bytes 0-1M 'juelich:run1/*.dat'`,
		Args: minimumArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			span, err := parseRange(byteRange)
			if err != nil {
				return err
			}
			algorithm = strings.ToUpper(algorithm)
			if _, err := transfer.NewHash(algorithm); err != nil {
				return usageErrorf("--hash=%s: must be MD5, SHA-1, SHA-256 or SHA-512", algorithm)
			}
			return a.checksum(cmd.Context(), args, &f, algorithm, span)
		},
	}
	flags := cmd.Flags()
	f.add(flags, remoteAttributes)
	flags.StringVarP(&algorithm, "hash", "a", "SHA-256", "`ALGORITHM`: MD5, SHA-1, SHA-256 or SHA-512")
	flags.StringVarP(&byteRange, "bytes", "B", "", "only of a `RANGE`: FIRST-LAST, FIRST-, or how many; counted from 0, with K, M, G, T")
	return cmd
}

func (a *app) checksum(ctx context.Context, args []string, f *remoteFlags, algorithm string, span *transfer.Range) error {
	var remotes []string
	var errs []error
	for _, arg := range args {
		p, err := a.parsePlace(arg)
		switch {
		case err != nil:
			return err
		case p.remote:
			remotes = append(remotes, arg)
		case span != nil:
			return usageErrorf("--bytes is for files on a server, not for %s", arg)
		default:
			sum, err := transfer.Local{}.Hash(ctx, p.local, algorithm)
			errs = append(errs, a.printSum(sum, p.local, err))
		}
	}
	if len(remotes) == 0 {
		return errors.Join(errs...)
	}
	u := use{glob: true}
	err := a.withOperands(ctx, remotes, f, u, func(ctx context.Context, r *remote) error {
		names, err := r.expand(ctx, u)
		if err != nil {
			return err
		}
		for _, name := range names {
			off, n := int64(0), int64(-1)
			if span != nil {
				if off, n, err = r.clip(ctx, name, *span); err != nil {
					return err
				}
			}
			sum, err := r.Hash(ctx, name, algorithm, off, n)
			errs = append(errs, a.printSum(sum, r.tree().Path(name), err))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// clip ends a range where the file does.
func (r *remote) clip(ctx context.Context, name string, span transfer.Range) (off, n int64, err error) {
	info, err := r.Stat(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	if span.Offset >= info.Size {
		return 0, 0, usageErrorf("--bytes: the range begins at %d, %s has %d bytes", span.Offset, r.tree().Path(name), info.Size)
	}
	return span.Offset, min(span.Length, info.Size-span.Offset), nil
}

func (a *app) printSum(sum, path string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s\n", sum, shown(path))
	return err
}
