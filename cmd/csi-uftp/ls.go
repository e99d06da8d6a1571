package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

func newLs(a *app) *cobra.Command {
	var f remoteFlags
	var l lister
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls URL...",
		Short: "List a directory on a UFTP server",
		Long: `Lists directories, or shows files. A path may be a pattern with *, ? and [a-z].
Directories end in a slash. The times are in this machine's time zone.`,
		Example: `  csi-uftp ls --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data
  csi-uftp ls -l 'uftp://uftp.example.org:9000/rest/auth/TEST:?token=@~/token'
  csi-uftp ls -lR juelich:run1
  csi-uftp ls --json --identity ~/.ssh/id_ed25519 --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data | jq -r '.[].name'`,
		Args: minimumArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u := use{glob: !l.noGlob}
			if l.recursive {
				u.sessions = transfer.DefaultParallel
			}
			err := a.withOperands(cmd.Context(), args, &f, u, func(ctx context.Context, r *remote) error {
				return l.collect(ctx, r, u)
			})
			if err != nil && len(l.entries) == 0 {
				return err
			}
			return errors.Join(a.printEntries(l, asJSON), err)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVarP(&l.long, "long", "l", false, "show mode, size and time of modification")
	cmd.Flags().BoolVarP(&l.recursive, "recursive", "R", false, "list the directories in a directory too")
	cmd.Flags().BoolVarP(&l.human, "human-readable", "H", false, "with -l: sizes in KiB, MiB and so on")
	cmd.Flags().BoolVar(&l.noGlob, "no-glob", false, "take *, ? and [ in paths as they are")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of {name, type, mode, size, modified}")
	return cmd
}

// lister collects what ls shows.
type lister struct {
	long, recursive, human, noGlob bool

	entries []listed
}

// listed is a line of ls.
type listed struct {
	name string
	info uftp.Info
}

// collect lists all operands. With one operand names are relative to it, with
// several, or a pattern, they begin with the operand's name.
func (l *lister) collect(ctx context.Context, r *remote, u use) error {
	names, err := r.expand(ctx, u)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		prefix := ""
		if len(names) > 1 && name != "." {
			prefix = name
		}
		errs = append(errs, l.one(ctx, r, name, prefix))
	}
	return errors.Join(errs...)
}

func (l *lister) one(ctx context.Context, r *remote, name, prefix string) error {
	info, err := r.Stat(ctx, name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		l.entries = append(l.entries, listed{cmp.Or(prefix, info.Name), info})
		return nil
	}
	if !l.recursive {
		infos, err := r.List(ctx, name)
		slices.SortFunc(infos, func(x, y uftp.Info) int { return cmp.Compare(x.Name, y.Name) })
		for _, info := range infos {
			l.entries = append(l.entries, listed{path.Join(prefix, info.Name), info})
		}
		return err
	}
	var errs []error
	err = transfer.Walk(ctx, r.tree(), name, func(below string, info uftp.Info, err error) error {
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		l.entries = append(l.entries, listed{path.Join(prefix, relative(name, below)), info})
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// withRemote runs f with a client for one operand. name is "." for the root and
// for the user's home.
func (a *app) withRemote(ctx context.Context, operand string, flags *remoteFlags,
	f func(ctx context.Context, c *uftp.Client, name string) error,
) error {
	p, err := a.remotePlace(operand)
	if err != nil {
		return err
	}
	return a.withRemotes(ctx, []place{p}, flags, use{}, func(ctx context.Context, r *remote) error {
		return f(ctx, r.Client, r.names[0])
	})
}

func (a *app) printEntries(l lister, asJSON bool) error {
	switch {
	case asJSON:
		entries := make([]entry, len(l.entries))
		for i, e := range l.entries {
			entries[i] = newEntry(e.name, e.info)
		}
		return json.NewEncoder(a.stdout).Encode(entries)
	case l.long:
		return l.printLong(a.stdout)
	}
	for _, e := range l.entries {
		if _, err := fmt.Fprintln(a.stdout, e.shown()); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) printLong(w io.Writer) error {
	sizes := make([]string, len(l.entries))
	width := 1
	for i, e := range l.entries {
		sizes[i] = strconv.FormatInt(e.info.Size, 10)
		if l.human {
			sizes[i] = byteCount(e.info.Size)
		}
		width = max(width, len(sizes[i]))
	}
	for i, e := range l.entries {
		_, err := fmt.Fprintf(w, "%-10s  %*s  %s  %s\n",
			e.info.Mode, width, sizes[i], e.info.ModTime.Local().Format(time.DateTime), e.shown())
		if err != nil {
			return err
		}
	}
	return nil
}

func (e listed) shown() string {
	if e.info.IsDir() {
		return shown(e.name) + "/"
	}
	return shown(e.name)
}

// entry is a file or directory for programs.
type entry struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Mode     string    `json:"mode"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

func newEntry(name string, info uftp.Info) entry {
	return entry{name, kindOf(info), fmt.Sprintf("%04o", info.Mode.Perm()), info.Size, info.ModTime.UTC()}
}

func kindOf(info uftp.Info) string {
	if info.IsDir() {
		return "directory"
	}
	return "file"
}
