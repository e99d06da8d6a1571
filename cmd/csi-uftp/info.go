package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newInfo(a *app) *cobra.Command {
	var f remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info URL",
		Short: "Show what an auth server says about itself and you",
		Long: `Shows the UFTP servers behind an auth server, their limits, and whom the auth
server takes you for. Anybody may ask; without a credential less is shown. Of the
URL only the server counts.`,
		Example: `  csi-uftp info https://uftp.example.org:9000/rest/auth/TEST
  csi-uftp info --json juelich: | jq .servers.JUDAC.sessionLimit`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(withColon(args[0]), &f)
			if errors.Is(err, uftp.ErrAuth) && t.spec.AuthURL != "" {
				t.access.Credential, err = uftp.Anonymous{}, nil
			}
			if err != nil {
				return err
			}
			info, err := uftp.ServerInfo(cmd.Context(), authRequest(t))
			if err != nil {
				return err
			}
			if asJSON {
				return printInfoJSON(a.stdout, info)
			}
			return printInfo(a.stdout, info)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printInfo(w io.Writer, info uftp.AuthInfo) error {
	var b strings.Builder
	row := func(name, value string) {
		if value != "" && value != "0" {
			fmt.Fprintf(&b, "  %-13s %s\n", name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(info.Servers)) {
		s := info.Servers[name]
		fmt.Fprintf(&b, "%s\n", name)
		row("URL", s.URL)
		row("description", s.Description)
		row("status", s.Status)
		row("version", s.Version)
		row("sessions", strconv.Itoa(s.SessionLimit))
		row("user", s.UID)
		row("group", s.GID)
		row("groups", strings.Join(s.Groups, ", "))
		if s.RateLimit > 0 {
			row("rate limit", byteCount(s.RateLimit)+"/s")
		}
		row("allowed", s.Allowed)
		row("forbidden", s.Forbidden)
		row("reservations", strings.Join(s.Reservations, "; "))
		if s.Sharing {
			row("sharing", s.SharingURL)
		}
	}
	fmt.Fprintf(&b, "you\n")
	row("name", info.Client.DN)
	row("role", info.Client.Role)
	row("by", info.Client.Method)
	row("user", info.Client.UID)
	row("groups", strings.Join(info.Client.Groups, ", "))
	fmt.Fprintf(&b, "auth server\n")
	row("version", info.Version)
	_, err := io.WriteString(w, b.String())
	return err
}

func printInfoJSON(w io.Writer, info uftp.AuthInfo) error {
	servers := make(map[string]any)
	for name, s := range info.Servers {
		servers[name] = map[string]any{
			"url": s.URL, "description": s.Description, "status": s.Status, "version": s.Version,
			"sessionLimit": s.SessionLimit, "uid": s.UID, "gid": s.GID, "groups": s.Groups, "rateLimit": s.RateLimit,
			"allowed": s.Allowed, "forbidden": s.Forbidden, "reservations": s.Reservations,
			"sharing": s.Sharing, "sharingURL": s.SharingURL,
		}
	}
	c := info.Client
	return json.NewEncoder(w).Encode(map[string]any{
		"servers": servers, "version": info.Version,
		"client": map[string]any{"dn": c.DN, "role": c.Role, "roles": c.AvailableRoles, "uid": c.UID, "group": c.Group, "groups": c.Groups, "method": c.Method},
	})
}
