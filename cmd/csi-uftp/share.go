package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newShare(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "share",
		Short: "Share files and directories with others",
		Long: `Lets others use a file or directory of yours, with your rights, through a URL of
its own: …/rest/access/NAME:PATH, with this program, or with a browser.`,
	}
	cmd.AddCommand(newShareAdd(a), newShareList(a), newShareUpdate(a), newShareRemove(a))
	return cmd
}

func newShareAdd(a *app) *cobra.Command {
	var f remoteFlags
	var s uftp.ShareRequest
	var write, asJSON bool
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Share a file or directory",
		Long: `Shares a file, or a directory if the path ends in a slash. The path is absolute.
Without --with everybody who knows the URL may use it.`,
		Example: `  csi-uftp share add --lifetime 168h juelich:/project/data/result.h5
  csi-uftp share add --write --with 'CN=Jane Doe,O=Example,C=EU' juelich:/project/data/inbox/`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(args[0], &f)
			if err != nil {
				return err
			}
			if !path.IsAbs(t.spec.Path) {
				return usageErrorf("a share needs an absolute path, not %q", t.spec.Path)
			}
			s.Path, s.Group, s.Access = t.spec.Path, t.spec.RemoteGroup, uftp.ShareRead
			if write {
				s.Access = uftp.ShareWrite
			}
			share, err := uftp.CreateShare(cmd.Context(), authRequest(t), s)
			if err != nil {
				return err
			}
			return a.printShares([]uftp.Share{share}, nil, asJSON)
		},
	}
	flags := cmd.Flags()
	f.add(flags, remoteAttributes)
	flags.StringVar(&s.User, "with", "", "distinguished `NAME` of the user to share with (default everybody)")
	flags.BoolVar(&write, "write", false, "allow writing too")
	flags.DurationVar(&s.Lifetime, "lifetime", 0, "how long it lives, as 168h (default for ever)")
	flags.BoolVar(&s.OneTime, "once", false, "delete it when it was used")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newShareList(a *app) *cobra.Command {
	var f remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls URL",
		Aliases: []string{"list"},
		Short:   "List what you share, and what is shared with you",
		Long:    "Lists shares. Of the URL only the server and its name count.",
		Example: "  csi-uftp share ls juelich:",
		Args:    exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(withColon(args[0]), &f)
			if err != nil {
				return err
			}
			shares, err := uftp.ListShares(cmd.Context(), authRequest(t))
			if err != nil {
				return err
			}
			return a.printShares(shares.Own, shares.Accessible, asJSON)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newShareUpdate(a *app) *cobra.Command {
	var f remoteFlags
	var newPath string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:     "update URL ID",
		Short:   "Change the path or the lifetime of a share",
		Long:    "Changes a share of yours. share ls shows the IDs.",
		Example: "  csi-uftp share update --lifetime 24h juelich: 3f2a",
		Args:    exactArgs("URL", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(withColon(args[0]), &f)
			if err != nil {
				return err
			}
			var u uftp.ShareUpdate
			if cmd.Flags().Changed("path") {
				u.Path = &newPath
			}
			if cmd.Flags().Changed("lifetime") {
				u.Lifetime = &lifetime
			}
			if u == (uftp.ShareUpdate{}) {
				return usageErrorf("nothing to change: give --path or --lifetime")
			}
			return uftp.UpdateShare(cmd.Context(), authRequest(t), args[1], u)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().StringVar(&newPath, "path", "", "absolute `PATH`; that of a directory ends in a slash")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it lives from now on; 0 is for ever")
	return cmd
}

func newShareRemove(a *app) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:     "rm URL ID...",
		Aliases: []string{"delete"},
		Short:   "Stop sharing",
		Long:    "Deletes shares of yours. share ls shows the IDs. The files stay.",
		Example: "  csi-uftp share rm juelich: 3f2a",
		Args:    minimumArgs("URL", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(withColon(args[0]), &f)
			if err != nil {
				return err
			}
			var errs []error
			for _, id := range args[1:] {
				errs = append(errs, uftp.DeleteShare(cmd.Context(), authRequest(t), id))
			}
			return errors.Join(errs...)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	return cmd
}

func (a *app) printShares(own, accessible []uftp.Share, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"own": shareRows(own), "accessible": shareRows(accessible)})
	}
	for _, s := range append(own, accessible...) {
		with := s.User
		switch {
		case s.Owner != "":
			with = "from " + s.Owner
		case strings.EqualFold(s.User, uftp.ShareAnonymous):
			with = "everybody"
		}
		life := ""
		if s.Lifetime > 0 {
			life = "  for " + s.Lifetime.String()
		}
		if s.OneTime {
			life += "  once"
		}
		if _, err := fmt.Fprintf(a.stdout, "%s  %-5s  %s  %s%s\n  %s\n  %s\n",
			s.ID, strings.ToLower(string(s.Access)), shown(s.Path), with, life, s.UFTPURL, s.HTTPURL); err != nil {
			return err
		}
	}
	return nil
}

// shareRows are shares for programs.
func shareRows(shares []uftp.Share) []map[string]any {
	rows := make([]map[string]any, 0, len(shares))
	for _, s := range shares {
		rows = append(rows, map[string]any{
			"id": s.ID, "path": s.Path, "directory": s.Directory, "user": s.User, "owner": s.Owner, "access": s.Access,
			"once": s.OneTime, "count": s.Count, "lifetime": int64(s.Lifetime.Seconds()), "http": s.HTTPURL, "uftp": s.UFTPURL,
		})
	}
	return rows
}
