package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// OpenUFTP is the [Opener] of the product.
//
// With [volume.Spec.Server] the credential is a [uftp.UsernamePassword] whose
// password is the one-time password; the auth service is not asked then, and
// there is nothing to prove or to update.
func OpenUFTP(ctx context.Context, spec volume.Spec, access uftp.Access, log *slog.Logger) (*Volume, error) {
	cfg, err := clientConfig(spec, access, log)
	if err != nil {
		return nil, err
	}
	client, err := uftp.New(cfg)
	if err != nil {
		return nil, err
	}
	disk := openDisk(ctx, spec, access, log)
	files, err := openFiles(ctx, client, fusefs.Config{
		Remote: client, Spec: spec, Logger: log, Disk: disk, RoundTrip: client.RoundTrip, Reach: client.Reach,
	})
	if err != nil {
		_ = errors.Join(client.Close(), closeDisk(disk))
		return nil, err
	}
	return &Volume{
		FS: files,
		Prove: func(ctx context.Context, a uftp.Access) (string, error) {
			if cfg.Login != nil {
				return "", nil
			}
			return prove(ctx, spec, a)
		},
		Update:      client.UpdateAccess,
		Counters:    func() map[string]int64 { return counters(client.Stats(), files.Stats(), disk) },
		Held:        files.Held,
		Passthrough: disk != nil,
		Close: func() error {
			return errors.Join(files.Close(), closeDisk(disk), client.Close())
		},
	}, nil
}

// openFiles logs in, looks at the root and puts the file system before it.
func openFiles(ctx context.Context, client *uftp.Client, cfg fusefs.Config) (*fusefs.FS, error) {
	if err := client.Connect(ctx); err != nil {
		return nil, err
	}
	files, err := fusefs.New(ctx, cfg)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, &uftp.Error{Op: "stat", Path: cfg.Spec.Path, Msg: "not a directory", Err: fs.ErrInvalid}
	}
	return files, err
}

func clientConfig(spec volume.Spec, access uftp.Access, log *slog.Logger) (uftp.Config, error) {
	cfg := uftp.Config{
		AuthURL:       spec.AuthURL,
		Access:        access,
		Insecure:      spec.Insecure,
		BaseDir:       spec.Path,
		Group:         spec.RemoteGroup,
		ClientAddress: spec.ClientAddress,
		ReadOnly:      spec.ReadOnly,
		MaxSessions:   spec.MaxSessions,
		Eager:         true,
		IdleTimeout:   spec.IdleTimeout,
		IOTimeout:     spec.IOTimeout,
		Compress:      spec.Compress,
		Streams:       spec.Streams,
		RateLimit:     spec.RateLimit,
		Logger:        log,
	}
	if spec.Encrypted() {
		cfg.Encryption = spec.Encryption
	}
	if spec.Server == "" {
		return cfg, nil
	}
	host, portText, err := net.SplitHostPort(spec.Server)
	port, perr := strconv.Atoi(portText)
	if err != nil || perr != nil {
		return cfg, fmt.Errorf("server %q is not host:port: %w", spec.Server, volume.ErrInvalid)
	}
	var password uftp.Secret
	switch c := access.Credential.(type) {
	case uftp.UsernamePassword:
		password = c.Password
	case *uftp.UsernamePassword:
		password = c.Password
	default:
		return cfg, fmt.Errorf("a server without auth service needs a one-time password: %w", uftp.ErrAuth)
	}
	cfg.Login = &uftp.Login{Host: host, Port: port, Password: password}
	return cfg, nil
}

// prove asks the auth service who the credential's owner is. It answers anybody
// in some way; whoever could not get a one-time password is refused here. What is
// shared may be for anybody: there the name alone is proved, which is all that the
// service looks at when it gives the password.
func prove(ctx context.Context, spec volume.Spec, access uftp.Access) (string, error) {
	info, err := uftp.ServerInfo(ctx, uftp.AuthRequest{AuthURL: spec.AuthURL, Access: access, Insecure: spec.Insecure})
	if err != nil {
		return "", err
	}
	if strings.Contains(spec.AuthURL, "/rest/access/") {
		return info.Client.DN + " through a share", nil
	}
	if info.Client.Role != "user" {
		return "", &uftp.Error{Op: "authenticate", Path: spec.AuthURL, Err: uftp.ErrAuth,
			Msg: fmt.Sprintf("%s has the role %q", info.Client.DN, info.Client.Role)}
	}
	uid := info.Client.UID
	name := spec.AuthURL[strings.LastIndexByte(spec.AuthURL, '/')+1:]
	if s, ok := info.Servers[name]; ok && s.UID != "" {
		uid = s.UID
	}
	return info.Client.DN + " as " + uid, nil
}
