package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

type testserverFlags struct {
	dir, user, passwordFile, caFile string
	usersFile                       string
	authListen, controlListen       string
	hostnames, quirks               []string
	delay                           time.Duration
	bandwidth                       int64
	maxConnections                  int
	generate                        bool
	generateSize                    int64
}

func newTestserver(a *app) *cobra.Command {
	var f testserverFlags
	cmd := &cobra.Command{
		Use:   "testserver",
		Short: "Serve a directory by UFTP, to try things with",
		Long: `Runs an auth server and a UFTP server in one process, over a directory of this
machine. It is made for tests and demonstrations: it behaves like UFTPD 3.5,
but everything runs as the user who started it. Do not serve other people with it.

It prints its URL, the user, and the file with its CA certificate, and serves
until it gets SIGINT or SIGTERM.

Quirks to switch on with --quirk, each as some versions of UFTPD have it:
  ` + strings.Join(quirkNames(), ", "),
		Example: `  # Serve generated files; then, in another shell, list and mount them.
  csi-uftp testserver --dir /tmp/demo --generate --ca-file /tmp/demo-ca.pem
  export UFTP_USER=demo UFTP_PASSWORD=demo-password
  csi-uftp ls --ca-file /tmp/demo-ca.pem uftp://127.0.0.1:PORT/rest/auth/TEST:
  csi-uftp mount --ca-file /tmp/demo-ca.pem uftp://127.0.0.1:PORT/rest/auth/TEST: /mnt

  # The same over a slow link: 20 ms each way, 50 MB/s a connection.
  csi-uftp testserver --dir /tmp/demo --delay 20ms --bandwidth 50000000`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := a.logger(slog.LevelWarn)
			if err != nil {
				return err
			}
			return a.testserver(cmd, f, logger)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "`DIRECTORY` to serve; it is also the user's home (required)")
	flags.StringVar(&f.user, "user", uftptest.DefaultUserName, "`NAME` of the one user")
	flags.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the user's password (default: the password is "+uftptest.DefaultUserPassword+")")
	flags.StringVar(&f.usersFile, "users-file", "", "`FILE` with a JSON list of users instead: each with a name and any of password, tokens, keys (lines of authorized_keys), groups, access (READ, FULL …)")
	flags.StringVar(&f.caFile, "ca-file", "", "`FILE` to write the CA certificate to (default: a file in a temporary directory)")
	flags.StringVar(&f.authListen, "auth-listen", "127.0.0.1:0", "`ADDRESS` of the auth server; port 0 is any free one")
	flags.StringVar(&f.controlListen, "control-listen", "127.0.0.1:0", "`ADDRESS` of the UFTP server")
	flags.StringSliceVar(&f.hostnames, "hostname", nil, "`NAME` of this machine for the certificate, beside localhost; the first is used in the URL")
	flags.IntVar(&f.maxConnections, "max-connections", 16, "sessions that the user may have")
	flags.StringSliceVar(&f.quirks, "quirk", nil, "`NAME` of a quirk to switch on (repeatable)")
	flags.DurationVar(&f.delay, "delay", 0, "delay of each byte, one way")
	flags.Int64Var(&f.bandwidth, "bandwidth", 0, "limit of each connection and direction in `BYTES` per second")
	flags.BoolVar(&f.generate, "generate", false, "make demonstration data in the directory, unless it is there: big.dat, 1,000 files in small/, and checksums")
	flags.Int64Var(&f.generateSize, "generate-size", 1<<30, "size of the generated big.dat in `BYTES`")
	return cmd
}

func (a *app) testserver(cmd *cobra.Command, f testserverFlags, logger *slog.Logger) (err error) {
	ctx := cmd.Context()
	cfg := uftptest.Config{
		Dir: f.dir, Confine: true, MaxConnections: f.maxConnections, Hostnames: f.hostnames,
		AuthListen: f.authListen, ControlListen: f.controlListen, Logger: logger,
		Users: []uftptest.User{{Name: f.user, Password: uftptest.DefaultUserPassword}},
	}
	if f.dir == "" {
		return usageErrorf("--dir is missing: give the directory to serve")
	}
	if f.passwordFile != "" {
		password, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return usageErrorf("--password-file: %v", err)
		}
		cfg.Users[0].Password = string(bytes.TrimRight(password, "\r\n"))
	}
	if f.usersFile != "" {
		if err := readUsers(f.usersFile, &cfg.Users); err != nil {
			return err
		}
		f.user = cfg.Users[0].Name
	}
	if err := setQuirks(&cfg.Quirks, f.quirks); err != nil {
		return err
	}
	if f.generate {
		if err := generateData(ctx, f.dir, f.generateSize); err != nil {
			return fmt.Errorf("generate data: %w", err)
		}
	}
	s, err := uftptest.New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := s.Close(); err == nil {
			err = closeErr
		}
	}()
	s.Faults().SetLink(uftptest.Link{Delay: f.delay, Bandwidth: f.bandwidth})

	if f.caFile == "" {
		dir, err := os.MkdirTemp("", "csi-uftp-testserver-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		f.caFile = filepath.Join(dir, "ca.pem")
	}
	if err := os.WriteFile(f.caFile, s.CABundle(), 0o644); err != nil { //nolint:gosec // a certificate is public
		return err
	}
	fmt.Fprintf(a.stdout, "URL      %s:\nuser     %s\nCA file  %s\n",
		strings.Replace(s.AuthURL(), "https://", "uftp://", 1), f.user, f.caFile)
	<-ctx.Done()
	return nil
}

// readUsers reads a list of users, whose passwords and tokens no error repeats.
func readUsers(file string, users *[]uftptest.User) error {
	data, err := os.ReadFile(file) //nolint:gosec // the user names it
	if err != nil {
		return usageErrorf("--users-file: %v", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	*users = nil
	if err := decoder.Decode(users); err != nil {
		return usageErrorf("--users-file %s: not a JSON list of users: %v", file, err)
	}
	if len(*users) == 0 {
		return usageErrorf("--users-file %s: the list is empty", file)
	}
	for i, u := range *users {
		if u.Name == "" {
			return usageErrorf("--users-file %s: user %d has no name", file, i+1)
		}
	}
	return nil
}

// quirkFields are the fields of Quirks that are switches, by their names here:
// InclusiveRange is inclusive-range.
func quirkFields() map[string]int {
	fields := make(map[string]int)
	quirks := reflect.TypeFor[uftptest.Quirks]()
	for i := range quirks.NumField() {
		if field := quirks.Field(i); field.Type.Kind() == reflect.Bool {
			fields[kebab(field.Name)] = i
		}
	}
	return fields
}

func quirkNames() []string { return slices.Sorted(maps.Keys(quirkFields())) }

func setQuirks(q *uftptest.Quirks, names []string) error {
	fields := quirkFields()
	for _, name := range names {
		i, ok := fields[name]
		if !ok {
			return usageErrorf("--quirk=%s: must be one of %s", name, strings.Join(quirkNames(), ", "))
		}
		reflect.ValueOf(q).Elem().Field(i).SetBool(true)
	}
	return nil
}

// kebab turns CamelCase into kebab-case; a run of capitals is one word.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			startsWord := i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'
			afterLower := name[i-1] >= 'a' && name[i-1] <= 'z'
			if startsWord || afterLower {
				b.WriteByte('-')
			}
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}
