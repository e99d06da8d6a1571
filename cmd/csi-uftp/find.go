package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// findFlags say what find shows.
type findFlags struct {
	name, kind, larger, smaller string
	newer, older                time.Duration
	null, asJSON                bool
}

func newFind(a *app) *cobra.Command {
	var f remoteFlags
	var want findFlags
	cmd := &cobra.Command{
		Use:   "find URL",
		Short: "Find files below a directory on a UFTP server",
		Long: `Shows the paths of all that is below a directory, or of what all the flags given
describe. A directory that cannot be read is reported, and the exit code is 9.`,
		Example: `  csi-uftp find --name '*.h5' --larger 1G juelich:
  csi-uftp find --type f --older 720h --print0 juelich:/scratch/demo | xargs -0 -n1 echo`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			match, err := want.matcher(time.Now())
			if err != nil {
				return err
			}
			return a.withOperands(cmd.Context(), args, &f, use{sessions: transfer.DefaultParallel, list: true}, func(ctx context.Context, r *remote) error {
				return a.find(ctx, r, match, want)
			})
		},
	}
	flags := cmd.Flags()
	f.add(flags, remoteAttributes)
	flags.StringVar(&want.name, "name", "", "`PATTERN` of the last part of the path, with *, ? and [a-z]")
	flags.StringVar(&want.kind, "type", "", "f for files, d for directories")
	flags.StringVar(&want.larger, "larger", "", "only files of more than this `SIZE`, with K, M, G, T")
	flags.StringVar(&want.smaller, "smaller", "", "only files of less than this `SIZE`")
	flags.DurationVar(&want.newer, "newer", 0, "only what was modified within this time, as 24h")
	flags.DurationVar(&want.older, "older", 0, "only what was not modified within this time")
	flags.BoolVar(&want.null, "print0", false, "end each path with a NUL, for xargs -0")
	flags.BoolVar(&want.asJSON, "json", false, "print an object for each: {name, type, mode, size, modified}")
	return cmd
}

func (a *app) find(ctx context.Context, r *remote, match func(uftp.Info) bool, want findFlags) error {
	failed := 0
	encoder := json.NewEncoder(a.stdout)
	err := transfer.Walk(ctx, r.tree(), r.names[0], func(name string, info uftp.Info, err error) error {
		shownPath := path.Join(r.base, name)
		switch {
		case err != nil && name == r.names[0]:
			return err
		case err != nil:
			failed++
			fmt.Fprintln(a.stderr, failureLine(fmt.Errorf("%s: %w", shownPath, err)))
			return nil
		case !match(info):
			return nil
		case want.asJSON:
			return encoder.Encode(newEntry(shownPath, info))
		case want.null:
			_, err = fmt.Fprint(a.stdout, shownPath, "\x00")
		default:
			_, err = fmt.Fprintln(a.stdout, shown(shownPath))
		}
		return err
	})
	if err == nil && failed > 0 {
		return fmt.Errorf("%w: %d directories could not be read", transfer.ErrIncomplete, failed)
	}
	return err
}

// matcher makes one condition of all.
func (f findFlags) matcher(now time.Time) (func(uftp.Info) bool, error) {
	larger, smaller := int64(-1), int64(-1)
	for _, limit := range []struct {
		text, flag string
		n          *int64
	}{{f.larger, "larger", &larger}, {f.smaller, "smaller", &smaller}} {
		if limit.text == "" {
			continue
		}
		var err error
		if *limit.n, err = parseBytes(limit.text); err != nil {
			return nil, usageErrorf("--%s=%s: must be a number, with K, M, G or T", limit.flag, limit.text)
		}
	}
	if _, err := path.Match(f.name, ""); err != nil {
		return nil, fmt.Errorf("%w: --name=%s: %w", fs.ErrInvalid, f.name, err)
	}
	if f.kind != "" && f.kind != "f" && f.kind != "d" {
		return nil, usageErrorf("--type=%s: must be f or d", f.kind)
	}
	if f.null && f.asJSON {
		return nil, usageErrorf("--print0 and --json exclude each other")
	}
	return func(info uftp.Info) bool {
		ok := f.name == ""
		if !ok {
			ok, _ = path.Match(f.name, info.Name)
		}
		age := now.Sub(info.ModTime)
		return ok && (f.kind == "" || (f.kind == "d") == info.IsDir()) &&
			(larger < 0 || !info.IsDir() && info.Size > larger) && (smaller < 0 || !info.IsDir() && info.Size < smaller) &&
			(f.newer == 0 || age <= f.newer) && (f.older == 0 || age > f.older)
	}, nil
}
