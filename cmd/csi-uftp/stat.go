package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newStat(a *app) *cobra.Command {
	var f remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stat URL...",
		Short: "Show what a UFTP server knows of files and directories",
		Long: `Shows type, size, permissions, time of modification, and what you may do. A
directory is shown itself, not what is in it.`,
		Example: `  csi-uftp stat juelich:run1/result.h5
  csi-uftp stat --json juelich: | jq .modified`,
		Args: minimumArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withOperands(cmd.Context(), args, &f, use{}, func(ctx context.Context, r *remote) error {
				var errs []error
				for _, name := range r.names {
					info, err := r.Stat(ctx, name)
					if err == nil {
						err = a.printStat(r.tree().Path(name), info, asJSON)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object for each: {name, type, mode, size, modified, access}")
	return cmd
}

func (a *app) printStat(path string, info uftp.Info, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(struct {
			entry
			Access string `json:"access"`
		}{newEntry(path, info), accessBits(info)})
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n  type      %s\n  size      %d\n  mode      %04o %s\n  modified  %s\n  access    %s\n",
		shown(path), kindOf(info), info.Size, info.Mode.Perm(), info.Mode,
		info.ModTime.Local().Format(time.DateTime+" -0700"), accessBits(info))
	return err
}

// accessBits are what the user may do, as in "r-x".
func accessBits(info uftp.Info) string {
	bits := []byte("rwx")
	for i := range bits {
		if info.Access&(4>>i) == 0 {
			bits[i] = '-'
		}
	}
	return string(bits)
}
