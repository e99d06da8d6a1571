package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

func newRm(a *app) *cobra.Command {
	var f remoteFlags
	var progress progressFlags
	var recursive, force, noGlob, dryRun bool
	cmd := &cobra.Command{
		Use:   "rm URL...",
		Short: "Remove files and directories from a UFTP server",
		Long: `Removes files, and with -r directories with all that is in them. A path may be a
pattern with *, ? and [a-z]. What cannot be removed is reported, and the rest is
removed. A symbolic link is removed, not what it leads to; --dry-run cannot tell a
link to a directory from one, and shows what is in it.`,
		Example: `  csi-uftp rm juelich:run1/log.txt 'juelich:run1/*.tmp'
  csi-uftp rm -r --dry-run juelich:run1`,
		Args: minimumArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u := use{write: true, glob: !noGlob}
			return a.withOperands(cmd.Context(), args, &f, u, func(ctx context.Context, r *remote) error {
				job := transfer.Job{To: r.tree(), Recursive: recursive, Force: force, DryRun: dryRun}
				names, err := r.expand(ctx, u)
				if force && errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				if err != nil {
					return err
				}
				for _, name := range names {
					job.Pairs = append(job.Pairs, transfer.Pair{To: name})
				}
				return a.observed(&progress, dryRun, func(o transfer.Observer) (transfer.Summary, error) {
					job.Observer = o
					return transfer.Remove(ctx, job)
				})
			})
		},
	}
	flags := cmd.Flags()
	f.add(flags, remoteAttributes)
	progress.add(flags)
	flags.BoolVarP(&recursive, "recursive", "r", false, "remove directories with all that is in them")
	flags.BoolVarP(&force, "force", "f", false, "do not mind what is not there")
	flags.BoolVar(&noGlob, "no-glob", false, "take *, ? and [ in paths as they are")
	flags.BoolVarP(&dryRun, "dry-run", "n", false, "only show what would be removed")
	return cmd
}

// withOperands is withRemotes for operands that all must be remote.
func (a *app) withOperands(ctx context.Context, args []string, flags *remoteFlags, u use, f func(ctx context.Context, r *remote) error) error {
	places := make([]place, len(args))
	for i, arg := range args {
		p, err := a.remotePlace(arg)
		if err != nil {
			return err
		}
		places[i] = p
	}
	return a.withRemotes(ctx, places, flags, u, f)
}

// expand returns the names that the operands stand for.
func (r *remote) expand(ctx context.Context, u use) ([]string, error) {
	var names []string
	for _, name := range r.names {
		if !u.glob || !transfer.HasGlob(name) {
			names = append(names, name)
			continue
		}
		found, err := transfer.Glob(ctx, r.tree(), name)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	return names, nil
}
