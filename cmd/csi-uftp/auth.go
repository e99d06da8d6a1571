package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newAuth(a *app) *cobra.Command {
	var f remoteFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "auth URL",
		Short: "Authenticate and print host, port and one-time password",
		Long: `Authenticates at the auth server and prints the UFTP server's address and a
one-time password, which another program (or "csi-uftp mount --server") can log
in with. The password dies some minutes after it was issued unless it is used,
and some seconds after its last session has ended.

URL is the auth URL, https://host:port/rest/auth/NAME, or a uftp:// URL whose
path becomes the base directory of the sessions.`,
		Example: `  csi-uftp auth --user demo https://uftp.example.org:9000/rest/auth/TEST

  # Authenticate here, mount elsewhere:
  csi-uftp auth --json --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data >login.json
  UFTP_PASSWORD=$(jq -r .password login.json) csi-uftp mount --server "$(jq -r .server login.json)" /mnt`,
		Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.resolve(withColon(args[0]), &f)
			if err != nil {
				return err
			}
			login, err := uftp.Authenticate(cmd.Context(), authRequest(t))
			if err != nil {
				return err
			}
			return a.printLogin(login, asJSON)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// withColon lets the auth URL stand alone, without the colon and the path.
func withColon(rawURL string) string {
	endpoint, query, hasQuery := strings.Cut(rawURL, "?")
	_, rest, _ := strings.Cut(endpoint, "://")
	if slash := strings.IndexByte(rest, '/'); slash < 0 || strings.Contains(rest[slash:], ":") {
		return rawURL
	}
	if hasQuery {
		return endpoint + ":?" + query
	}
	return endpoint + ":"
}

// authRequest asks for what other clients ask for: a password for several logins.
func authRequest(t target) uftp.AuthRequest {
	return uftp.AuthRequest{
		AuthURL: t.spec.AuthURL, Access: t.access, Insecure: t.spec.Insecure,
		BaseDir: t.spec.Path, Persistent: true,
		Group: t.spec.RemoteGroup, ClientAddress: t.spec.ClientAddress, UserPreferences: t.preferences,
	}
}

// printLogin shows the password: that is what the command is for.
func (a *app) printLogin(login uftp.Login, asJSON bool) error {
	password := login.Password.Reveal()
	server := ""
	if addresses := login.Addresses(); len(addresses) > 0 {
		server = addresses[0]
	}
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{
			"host": login.Host, "port": login.Port, "server": server, "password": password,
		})
	}
	_, err := fmt.Fprintf(a.stdout, "host      %s\nport      %d\npassword  %s\n", login.Host, login.Port, password)
	return err
}

// clientConfig is the configuration of a client for a short command.
func clientConfig(t target) uftp.Config {
	s := t.spec
	cfg := uftp.Config{
		AuthURL: s.AuthURL, Access: t.access, Insecure: s.Insecure, BaseDir: s.Path,
		Group: s.RemoteGroup, ClientAddress: s.ClientAddress, UserPreferences: t.preferences,
		IOTimeout: s.IOTimeout, ReadOnly: true, MaxSessions: 1, Compress: s.Compress, Streams: s.Streams,
	}
	if s.Encrypted() {
		cfg.Encryption = s.Encryption
	}
	return cfg
}
