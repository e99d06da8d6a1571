package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

// The environment variables that hold credentials.
const (
	envUser     = "UFTP_USER"
	envPassword = "UFTP_PASSWORD"
	envToken    = "UFTP_TOKEN" //nolint:gosec // a name

	envSSHAgent  = "SSH_AUTH_SOCK"
	envOIDCAgent = "OIDC_SOCK"
)

func helpCredentials() *cobra.Command {
	return &cobra.Command{
		Use:   "credentials",
		Short: "How to say who you are",
		Long: `csi-uftp authenticates you at the auth server in one of these ways.

User name and password:
  --user NAME, or $UFTP_USER; the password is in $UFTP_PASSWORD, in the first
  line of --password-file FILE, or asked for.

SSH key, whose public half is in ~/.ssh/authorized_keys on the server:
  --user NAME --identity FILE. If the key has a passphrase, it is in
  $UFTP_PASSWORD, or asked for.

  If an SSH agent holds the key: --user NAME --ssh-agent. With --identity FILE,
  the public key in FILE or FILE.pub chooses among the agent's.
Bearer token (OAuth, OIDC, or issued by the auth server):
  --token-file FILE, or the token in $UFTP_TOKEN. The file is read again
  whenever a token is needed. From an oidc-agent: --oidc-account ACCOUNT.
Nobody: --anonymous, for what others share with everybody.

All of that can be in the URL instead:
  uftp://user:password@host:port/rest/auth/NAME:/path
  uftp://user:passphrase@host:port/rest/auth/NAME:/path?identity=FILE
  uftp://host:port/rest/auth/NAME:/path?token=@FILE
  uftp://host:port/rest/auth/NAME:/path?token=@@VARIABLE
A relative identity FILE is looked for in ~/.uftp. In a user name, a password,
a path or a value write / @ : ? # % & as %2F %40 %3A %3F %23 %25 %26.
Do not put a password or token itself into a URL on a shared machine: others
can see your command line.

A flag comes before the URL, the URL before the environment; a token before a
key, a key before a password.

If the auth server's certificate is from a CA that your system does not know:
  --ca-file FILE with the CA's certificate in PEM format.
`,
	}
}

// remoteFlags are the flags that say who and where, for all commands that talk
// to a server.
type remoteFlags struct {
	user, identity, tokenFile, caFile string
	passwordFile, oidcAccount         string
	preferences                       string
	sshAgent, anonymous               bool
	attributes                        attributeFlags
	flags                             *pflag.FlagSet // all of the command
}

// add defines the flags; accept chooses the volume attributes among them.
func (f *remoteFlags) add(flags *pflag.FlagSet, accept func(volume.Attribute) bool) {
	f.flags = flags
	flags.StringVarP(&f.user, "user", "u", "", "user `NAME` on the server (default $UFTP_USER)")
	flags.StringVarP(&f.identity, "identity", "i", "", "private SSH key `FILE` to authenticate with")
	flags.StringVar(&f.tokenFile, "token-file", "", "`FILE` with a bearer token to authenticate with")
	flags.StringVar(&f.passwordFile, "password-file", "", "`FILE` whose first line is the password, or the passphrase of the key")
	flags.BoolVar(&f.sshAgent, "ssh-agent", false, "authenticate with a key in the SSH agent of $"+envSSHAgent)
	flags.StringVarP(&f.oidcAccount, "oidc-account", "O", "", "authenticate with a token for this `ACCOUNT` of the oidc-agent of $"+envOIDCAgent)
	flags.BoolVar(&f.anonymous, "anonymous", false, "authenticate as nobody")
	flags.StringVar(&f.preferences, "preferences", "", "`CHOICE` among your accounts and roles there, as uid:other,group:project1")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM `FILE` with the CA certificate of the auth server")
	f.attributes.add(flags, accept)
}

// remoteAttributes are the attributes of commands that mount nothing.
func remoteAttributes(a volume.Attribute) bool {
	switch a.Name {
	case "group", "clientAddress", "insecureSkipVerify", "encryption", "compress", "streams":
		return true
	}
	return false
}

// target is a remote directory or file and who wants it.
type target struct {
	spec        volume.Spec
	access      uftp.Access
	preferences string // uftp.AuthRequest.UserPreferences
}

// resolve makes a target of a URL, or of NAME:PATH with a configured endpoint,
// and the flags.
func (a *app) resolve(operand string, f *remoteFlags) (target, error) {
	p, err := a.remotePlace(operand)
	if err != nil {
		return target{}, err
	}
	return a.resolvePlace(p, f)
}

// resolvePlace makes a target of a remote place and the flags.
func (a *app) resolvePlace(p place, f *remoteFlags) (target, error) {
	u := p.url
	undo, err := a.configure(p, f)
	defer undo()
	if err != nil {
		return target{}, err
	}
	for _, name := range []string{"authURL", "server", "path", "secretName", "secretNamespace"} {
		if _, ok := u.Attributes[name]; ok {
			return target{}, fmt.Errorf("%w: %q cannot be in a URL's query", volume.ErrInvalid, name)
		}
	}
	t := target{spec: ownSpec()}
	if err := volume.Apply(&t.spec, u.Attributes); err != nil {
		return target{}, err
	}
	if err := f.attributes.apply(&t.spec); err != nil {
		return target{}, err
	}
	t.spec.AuthURL, t.spec.Path = u.AuthURL, u.Path
	if err := t.spec.Validate(); err != nil {
		return target{}, err
	}
	if t.access.CABundle, err = f.caBundle(); err != nil {
		return target{}, err
	}
	t.preferences = f.preferences
	t.access.Credential, err = a.credential(u, f)
	return t, err
}

// configure gives flags that were not given what the endpoint says, until undo is
// called: another endpoint must not get what this one has.
func (a *app) configure(p place, f *remoteFlags) (undo func(), err error) {
	if p.endpoint == "" {
		return func() {}, nil
	}
	before := *f
	given := maps.Clone(f.attributes.given)
	undo = func() {
		clear(f.attributes.given)
		maps.Copy(f.attributes.given, given)
		*f = before
	}
	return undo, setFlags(f.flags, isRemoteFlag, a.config.Endpoints[p.endpoint].Flags, "endpoint "+p.endpoint)
}

// isRemoteFlag reports whether a flag says who and where.
func isRemoteFlag(name string) bool {
	var f remoteFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.add(flags, transferAttributes)
	return flags.Lookup(name) != nil
}

func (f *remoteFlags) caBundle() ([]byte, error) {
	if f.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(f.caFile)
	if err != nil {
		return nil, usageErrorf("--ca-file: %v", err)
	}
	if !bytes.Contains(pem, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, usageErrorf("--ca-file: %s holds no certificate in PEM format", f.caFile)
	}
	return pem, nil
}

var errNoCredential = fmt.Errorf("%w: no credential given", uftp.ErrAuth)

// credential chooses one as helpCredentials says.
func (a *app) credential(u uftpfs.URL, f *remoteFlags) (uftp.Credential, error) {
	name, given, ok := strings.Cut(f.user, ":")
	if ok { // as other UFTP clients have it
		u.Password = uftp.Secret(given)
		a.warnOfSecret("on the command line")
	}
	user := cmp.Or(name, u.User, os.Getenv(envUser))
	identity, err := identityFile(f.identity, u.Identity)
	if err != nil {
		return nil, err
	}
	secret := u.Password
	if f.passwordFile != "" {
		if secret, err = readSecret(f.passwordFile); err != nil {
			return nil, err
		}
	}
	switch {
	case f.anonymous:
		return uftp.Anonymous{}, nil
	case f.tokenFile != "":
		return uftp.TokenFile{Path: f.tokenFile}, nil
	case f.oidcAccount != "":
		return uftp.OIDCAgent{Account: f.oidcAccount, Socket: os.Getenv(envOIDCAgent)}, nil
	case f.sshAgent:
		return agentKey(user, identity)
	case f.identity != "":
		return a.sshKey(user, identity, secret)
	case u.Token != "":
		return uftp.BearerToken{Token: u.Token}, nil
	case u.TokenFile != "":
		return uftp.TokenFile{Path: u.TokenFile}, nil
	case u.TokenEnv != "":
		return uftp.TokenEnv{Name: u.TokenEnv}, nil
	case u.Identity != "":
		return a.sshKey(user, identity, secret)
	case name == "" && u.User == "" && os.Getenv(envToken) != "":
		return uftp.TokenEnv{Name: envToken}, nil
	case user == "":
		return nil, errNoCredential
	}
	password, err := a.secret(secret, "Password of "+user+": ")
	return uftp.UsernamePassword{Username: user, Password: password}, err
}

// warnOfSecret tells that a secret is where others can see it.
func (a *app) warnOfSecret(where string) {
	fmt.Fprintf(a.stderr, "csi-uftp: warning: a secret %s can be seen by other users of this machine; see \"csi-uftp help credentials\"\n", where)
}

// readSecret returns the first line of a file.
func readSecret(file string) (uftp.Secret, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the user names it
	if err != nil {
		return "", usageErrorf("--password-file: %v", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return uftp.Secret(bytes.TrimRight(line, "\r")), nil
}

// agentKey is a key in the SSH agent, chosen by the public key beside or in file.
func agentKey(user, file string) (uftp.Credential, error) {
	if user == "" {
		return nil, usageErrorf("an SSH key needs the user's name: give --user NAME or set %s", envUser)
	}
	c := uftp.SSHAgent{Username: user, Socket: os.Getenv(envSSHAgent)}
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(strings.TrimSuffix(file, ".pub") + ".pub")
	if err != nil {
		return nil, usageErrorf("--identity: the agent's key is chosen by a public key: %v", err)
	}
	c.PublicKey = string(text)
	return c, nil
}

// identityFile returns the path of the key: the flag's, or the URL's, which may
// begin with ~ and is relative to ~/.uftp.
func identityFile(fromFlag, fromURL string) (string, error) {
	if fromFlag != "" || fromURL == "" {
		return fromFlag, nil
	}
	if filepath.IsAbs(fromURL) {
		return fromURL, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usageErrorf("identity=%s: there is no home directory: %v", fromURL, err)
	}
	if rest, ok := strings.CutPrefix(fromURL, "~/"); ok {
		return filepath.Join(home, rest), nil
	}
	return filepath.Join(home, ".uftp", fromURL), nil
}

// sshKey reads a key file. It asks for a passphrase only if the key needs one.
func (a *app) sshKey(user, file string, passphrase uftp.Secret) (uftp.Credential, error) {
	if user == "" {
		return nil, usageErrorf("an SSH key needs the user's name: give --user NAME or set %s", envUser)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the user names it
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // its kind would read as the remote path's
		}
		return nil, fmt.Errorf("%w: key file %s: %v", uftp.ErrAuth, file, err) //nolint:errorlint // see above
	}
	key, err := uftp.NewSSHKey(user, uftp.Secret(text), passphrase)
	if err != nil && passphrase == "" {
		var asked uftp.Secret
		asked, askErr := a.secret("", "Passphrase of "+file+": ")
		if askErr == nil {
			key, err = uftp.NewSSHKey(user, uftp.Secret(text), asked)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: key file %s: %w", uftp.ErrAuth, file, err)
	}
	return key, nil
}

// secret returns the given secret, or $UFTP_PASSWORD, or what a person types in.
func (a *app) secret(given uftp.Secret, prompt string) (uftp.Secret, error) {
	if given != "" {
		return given, nil
	}
	if env, ok := os.LookupEnv(envPassword); ok {
		return uftp.Secret(env), nil
	}
	terminal, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", fmt.Errorf("%w: no password given: set %s", uftp.ErrAuth, envPassword)
	}
	fmt.Fprint(a.stderr, prompt)
	typed, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(a.stderr)
	return uftp.Secret(typed), err
}
