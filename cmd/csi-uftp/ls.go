package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newLs(a *app) *cobra.Command {
	var f remoteFlags
	var long, asJSON bool
	cmd := &cobra.Command{
		Use:   "ls URL",
		Short: "List a directory on a UFTP server",
		Long: `Lists a directory, or shows one file. Directories end in a slash. The times are
in this machine's time zone.`,
		Example: `  csi-uftp ls --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data
  csi-uftp ls -l 'uftp://uftp.example.org:9000/rest/auth/TEST:?token=@~/token'
  csi-uftp ls --json --identity ~/.ssh/id_ed25519 --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data | jq -r '.[].name'`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var infos []uftp.Info
			err := a.withRemote(cmd.Context(), args[0], &f, func(ctx context.Context, c *uftp.Client, name string) error {
				info, err := c.Stat(ctx, name)
				if err != nil {
					return err
				}
				if !info.IsDir() {
					infos = []uftp.Info{info}
					return nil
				}
				infos, err = c.List(ctx, name)
				return err
			})
			if err != nil {
				return err
			}
			slices.SortFunc(infos, func(x, y uftp.Info) int { return cmp.Compare(x.Name, y.Name) })
			switch {
			case asJSON:
				return printJSON(a.stdout, infos)
			case long:
				return printLong(a.stdout, infos)
			}
			return printNames(a.stdout, infos)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show mode, size and time of modification")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of {name, type, mode, size, modified}")
	return cmd
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

func printNames(w io.Writer, infos []uftp.Info) error {
	for _, info := range infos {
		if _, err := fmt.Fprintln(w, displayName(info)); err != nil {
			return err
		}
	}
	return nil
}

func printLong(w io.Writer, infos []uftp.Info) error {
	width := 1
	for _, info := range infos {
		width = max(width, len(strconv.FormatInt(info.Size, 10)))
	}
	for _, info := range infos {
		_, err := fmt.Fprintf(w, "%-10s  %*d  %s  %s\n",
			info.Mode, width, info.Size, info.ModTime.Local().Format(time.DateTime), displayName(info))
		if err != nil {
			return err
		}
	}
	return nil
}

func displayName(info uftp.Info) string {
	if info.IsDir() {
		return info.Name + "/"
	}
	return info.Name
}

func printJSON(w io.Writer, infos []uftp.Info) error {
	type entry struct {
		Name     string    `json:"name"`
		Type     string    `json:"type"`
		Mode     string    `json:"mode"`
		Size     int64     `json:"size"`
		Modified time.Time `json:"modified"`
	}
	entries := make([]entry, len(infos))
	for i, info := range infos {
		kind := "file"
		if info.IsDir() {
			kind = "directory"
		}
		entries[i] = entry{info.Name, kind, fmt.Sprintf("%04o", info.Mode.Perm()), info.Size, info.ModTime.UTC()}
	}
	return json.NewEncoder(w).Encode(entries)
}
