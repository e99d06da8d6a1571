package uftpfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Options are what a URL does not say.
type Options struct {
	// Password is the user's password, or the passphrase of the key, if the URL
	// has none.
	Password uftp.Secret
	// CABundle holds PEM certificates that the auth service's must come from;
	// the default is the system's.
	CABundle []byte
	// Configure, if not nil, has the last word on the client's settings.
	Configure func(*uftp.Config)
}

// OpenURL opens the directory that a UFTP URL names: it reads what the URL refers
// to, authenticates and logs in, so that errors of all kinds come from here.
// Operations end with ctx. Close the FS to end its sessions.
func OpenURL(ctx context.Context, rawURL string, opts Options) (*FS, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	cfg, err := u.Config()
	if err != nil {
		return nil, err
	}
	if u.Password == "" {
		u.Password = opts.Password
	}
	cfg.Access.CABundle = opts.CABundle
	if cfg.Access.Credential, err = u.Credential(); err != nil {
		return nil, err
	}
	if opts.Configure != nil {
		opts.Configure(&cfg)
	}
	client, err := uftp.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := client.Connect(ctx); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	f := New(ctx, client)
	f.close = closeOnce(client)
	return f, nil
}

// Config returns the client's settings for the URL and its attributes, those
// about mounts apart, which mean nothing here. It has no credential yet.
func (u URL) Config() (uftp.Config, error) {
	for _, a := range volume.Attributes() {
		switch a.Name {
		case "authURL", "server", "path", "secretName", "secretNamespace":
			if _, ok := u.Attributes[a.Name]; ok {
				return uftp.Config{}, fmt.Errorf("UFTP URL: %q cannot be in the query: %w", a.Name, fs.ErrInvalid)
			}
		}
	}
	spec := volume.Default()
	if err := volume.Apply(&spec, u.Attributes); err != nil {
		return uftp.Config{}, fmt.Errorf("UFTP URL: %w: %w", fs.ErrInvalid, err)
	}
	cfg := uftp.Config{
		AuthURL: u.AuthURL, BaseDir: u.Path, Insecure: spec.Insecure,
		Group: spec.RemoteGroup, ClientAddress: spec.ClientAddress, ReadOnly: spec.ReadOnly,
		MaxSessions: spec.MaxSessions, IdleTimeout: spec.IdleTimeout, IOTimeout: spec.IOTimeout,
		Compress: spec.Compress, Streams: spec.Streams,
	}
	if spec.Encrypted() {
		cfg.Encryption = spec.Encryption
	}
	return cfg, nil
}

// Credential returns who the URL says to be: the token if there is one, else the
// key with the password as its passphrase, else user and password, else nobody.
// It reads the key file. Errors are uftp.ErrAuth, and say which file or field.
func (u URL) Credential() (uftp.Credential, error) {
	switch {
	case u.Token != "":
		return uftp.BearerToken{Token: u.Token}, nil
	case u.TokenFile != "":
		file, err := inHome(u.TokenFile, "")
		return uftp.TokenFile{Path: file}, err
	case u.TokenEnv != "":
		return uftp.TokenEnv{Name: u.TokenEnv}, nil
	case u.Identity != "":
		return u.key()
	case u.User != "" && u.Password == "":
		return nil, fmt.Errorf("%w: there is neither password nor identity for user %q", uftp.ErrAuth, u.User)
	case u.User != "":
		return uftp.UsernamePassword{Username: u.User, Password: u.Password}, nil
	}
	return uftp.Anonymous{}, nil
}

func (u URL) key() (uftp.Credential, error) {
	file, err := u.IdentityFile()
	if err != nil {
		return nil, err
	}
	if u.User == "" {
		return nil, fmt.Errorf("%w: key %s needs the user's name: write uftp://USER:@host…", uftp.ErrAuth, file)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the URL names it
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // its kind would read as the remote path's
		}
		return nil, fmt.Errorf("%w: key %s: %v", uftp.ErrAuth, file, err) //nolint:errorlint // see above
	}
	key, err := uftp.NewSSHKey(u.User, uftp.Secret(text), u.Password)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", uftp.ErrAuth, file, err)
	}
	return key, nil
}

// IdentityFile returns the path of the key file: "~" is the home directory, and a
// relative path lies in ~/.uftp.
func (u URL) IdentityFile() (string, error) { return inHome(u.Identity, ".uftp") }

// inHome expands "~" in a path. A relative one lies in dir below the home
// directory, or in the working directory if dir is "".
func inHome(file, dir string) (string, error) {
	rest, tilde := strings.CutPrefix(file, "~/")
	if filepath.IsAbs(file) || !tilde && dir == "" {
		return file, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", uftp.ErrAuth, file, err)
	}
	if tilde {
		return filepath.Join(home, rest), nil
	}
	return filepath.Join(home, dir, file), nil
}
