package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

func newURL(a *app) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "url URL",
		Short: "Explain how a URL is understood",
		Long: `Shows the parts of a URL, or of NAME:PATH with a configured endpoint, and how you
would authenticate. Secrets are not shown, and nobody is asked: neither the server
nor you.`,
		Example: `  csi-uftp url 'uftp://demo@uftp.example.org:9000/rest/auth/TEST:/data?identity=id_ed25519'
  csi-uftp url juelich:run1`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.remotePlace(args[0])
			if err != nil {
				return err
			}
			quiet := *a
			quiet.stdin = nil
			t, err := quiet.resolvePlace(p, &f)
			who := "none: " + fmt.Sprint(err)
			if t.access.Credential != nil {
				who = t.access.Credential.String()
			}
			return a.printURL(p, who)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	return cmd
}

func (a *app) printURL(p place, who string) error {
	rows := [][2]string{
		{"auth URL", p.url.AuthURL},
		{"path", cmp.Or(p.url.Path, "(the home directory)")},
		{"user", p.url.User},
		{"password", hidden(p.url)},
		{"token", tokenSource(p.url)},
		{"identity", p.url.Identity},
		{"endpoint", p.endpoint},
		{"credential", who},
	}
	for _, name := range slices.Sorted(maps.Keys(p.url.Attributes)) {
		rows = append(rows, [2]string{name, p.url.Attributes[name]})
	}
	for _, row := range rows {
		if row[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%-11s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}

func hidden(u uftpfs.URL) string {
	if u.Password == "" {
		return ""
	}
	return u.Password.String()
}

func tokenSource(u uftpfs.URL) string {
	switch {
	case u.Token != "":
		return u.Token.String()
	case u.TokenFile != "":
		return "in the file " + u.TokenFile
	case u.TokenEnv != "":
		return "in the variable " + u.TokenEnv
	}
	return ""
}
