package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newIssueToken(a *app) *cobra.Command {
	var f remoteFlags
	var t uftp.TokenRequest
	cmd := &cobra.Command{
		Use:   "issue-token URL",
		Short: "Have the auth server issue a token",
		Long: `Prints a token that authenticates you for some time, without password or key: in
$UFTP_TOKEN, or in a file for --token-file. Whoever has it is you: keep it secret.
Of the URL only the server and its name count.`,
		Example: `  (umask 077; csi-uftp issue-token --lifetime 12h juelich: >~/.uftp/token)
  csi-uftp ls --token-file ~/.uftp/token juelich:`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := a.resolve(withColon(args[0]), &f)
			if err != nil {
				return err
			}
			token, err := uftp.IssueToken(cmd.Context(), authRequest(where), t)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, token.Reveal())
			return err
		},
	}
	flags := cmd.Flags()
	f.add(flags, remoteAttributes)
	flags.DurationVar(&t.Lifetime, "lifetime", 0, "how long it is good for, as 12h (default: the server's, some minutes)")
	flags.BoolVar(&t.Renewable, "renewable", false, "allow it to be used for getting another")
	flags.BoolVar(&t.Limited, "limited", false, "good for this auth server only")
	return cmd
}
