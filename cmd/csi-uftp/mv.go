package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"
)

func newMv(a *app) *cobra.Command {
	var f remoteFlags
	var noClobber bool
	cmd := &cobra.Command{
		Use:   "mv URL... URL",
		Short: "Rename or move files and directories on a UFTP server",
		Long: `Renames a file or a directory, or moves several into a directory, on one server. A
file that has the new name is replaced.`,
		Example: `  csi-uftp mv juelich:run1 juelich:run-final
  csi-uftp mv juelich:a.dat juelich:b.dat juelich:archive/`,
		Args: minimumArgs("URL", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withOperands(cmd.Context(), args, &f, use{write: true}, func(ctx context.Context, r *remote) error {
				return r.move(ctx, strings.HasSuffix(args[len(args)-1], "/"), noClobber)
			})
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVar(&noClobber, "no-clobber", false, "fail if there is a file that has the new name")
	return cmd
}

// move renames all operands but the last to it, or into it.
func (r *remote) move(ctx context.Context, wantsDir, noClobber bool) error {
	last := len(r.names) - 1
	target := r.names[last]
	info, err := r.Stat(ctx, target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isDir := err == nil && info.IsDir()
	if (wantsDir || last > 1) && !isDir {
		return usageErrorf("%s is not a directory", r.tree().Path(target))
	}
	var errs []error
	for _, name := range r.names[:last] {
		to := target
		if isDir {
			to = path.Join(target, path.Base(name))
		}
		errs = append(errs, r.moveOne(ctx, name, to, noClobber))
	}
	return errors.Join(errs...)
}

func (r *remote) moveOne(ctx context.Context, from, to string, noClobber bool) error {
	if noClobber {
		if _, err := r.Stat(ctx, to); err == nil {
			return fmt.Errorf("%w: %s", fs.ErrExist, r.tree().Path(to))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return r.Rename(ctx, from, to)
}
