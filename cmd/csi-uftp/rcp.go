package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

func newRcp(a *app) *cobra.Command {
	var f copyFlags
	var send bool
	cmd := &cobra.Command{
		Use:   "rcp URL... URL",
		Short: "Have one UFTP server fetch files from another",
		Long: `Copies files from server to server without a detour through this machine: the
last URL's server fetches them, or, with --send, the first one's sends them. The
servers must reach each other. Say in the URLs or endpoints who you are on each: a
flag holds for both.

Directories are copied with "csi-uftp cp -r", through this machine.`,
		Example: `  csi-uftp rcp juelich:run1/big.h5 cineca:/scratch/
  csi-uftp rcp --send juelich:a.dat juelich:b.dat cineca:inbox/`,
		Args: minimumArgs("URL", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.rcp(cmd.Context(), args, &f, send)
		},
	}
	f.remoteFlags.add(cmd.Flags(), transferAttributes)
	f.progress.add(cmd.Flags())
	cmd.Flags().BoolVar(&send, "send", false, "the sources' server sends, instead of the target's fetching")
	return cmd
}

func (a *app) rcp(ctx context.Context, args []string, f *copyFlags, send bool) error {
	last := len(args) - 1
	places := make([]place, len(args))
	for i, arg := range args {
		var err error
		if places[i], err = a.remotePlace(arg); err != nil {
			return err
		}
	}
	return a.withRemotes(ctx, places[:last], &f.remoteFlags, use{glob: true, sessions: 2}, func(ctx context.Context, from *remote) error {
		return a.withRemotes(ctx, places[last:], &f.remoteFlags, use{write: true, sessions: 2}, func(ctx context.Context, to *remote) error {
			pairs, err := f.pairs(ctx, from.side(from.names), to.side(to.names), args[last])
			if err != nil {
				return err
			}
			return a.observed(&f.progress, false, func(o transfer.Observer) (transfer.Summary, error) {
				return copyBetween(ctx, from, to, pairs, send, o)
			})
		})
	})
}

// copyBetween has servers copy one file after the other.
func copyBetween(ctx context.Context, from, to *remote, pairs []transfer.Pair, send bool, o transfer.Observer) (sum transfer.Summary, err error) {
	for _, p := range pairs {
		item := transfer.Item{From: from.tree().Path(p.From), To: to.tree().Path(p.To)}
		if item.Info, err = from.Stat(ctx, p.From); err == nil {
			o.Found(item)
			err = copyOne(ctx, from.Client, to.Client, p, send)
		}
		switch {
		case ctx.Err() != nil:
			return sum, ctx.Err()
		case err == nil:
			sum.Files++
			sum.Bytes += item.Info.Size
			o.Moved(item, item.Info.Size, false)
		default:
			sum.Failed++
			err = fmt.Errorf("%s: %w", item.From, err)
		}
		o.Done(item, err)
	}
	switch {
	case sum.Failed == 0:
		return sum, nil
	case sum.Items() == 1:
		return sum, err
	}
	return sum, transfer.ErrIncomplete
}

func copyOne(ctx context.Context, from, to *uftp.Client, p transfer.Pair, send bool) error {
	if send {
		return from.CopyTo(ctx, p.From, to, p.To)
	}
	return to.CopyFrom(ctx, p.To, from, p.From)
}
