package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// DefaultName is the driver's name in Kubernetes' CSIDriver object.
const DefaultName = "uftp.csi.unicore.eu"

// Mounter makes volumes visible at target paths.
//
// Its errors wrap the causes of package uftp, io/fs, context and
// volume.ErrInUse, volume.ErrConflict.
type Mounter interface {
	// Publish shows p.Spec at p.Target, which it creates. On a target that shows
	// the volume already it refreshes the credentials; see volume.ErrConflict.
	// When it fails, the target shows what it did before the call, or nothing.
	Publish(ctx context.Context, p volume.Publication, access uftp.Access) error
	// Unpublish undoes Publish and removes the target. It succeeds if there is
	// nothing left to undo.
	Unpublish(ctx context.Context, volumeID, target string) error
	// Stats answers from memory, without asking the server. It is fs.ErrNotExist
	// if and only if the volume is not published at path.
	Stats(ctx context.Context, volumeID, path string) (volume.Stats, error)
}

// Credentials turns a request's secrets, or the Secret that spec names, into
// access to the auth service. Its errors wrap volume.ErrSecret where somebody
// must change something, and name keys, never values.
type Credentials interface {
	Resolve(ctx context.Context, spec volume.Spec, secrets map[string]string) (uftp.Access, error)
}

// Provisioner makes and removes the directories of dynamic volumes.
type Provisioner interface {
	// Locate says where the volume with this id lives, as far as it takes to
	// find credentials and the server: without asking the network. It is
	// fs.ErrNotExist for an id that is not of this driver's making.
	Locate(id string) (volume.Spec, error)
	// Create makes the directory, or finds the one it made for the same claim.
	// It is volume.ErrConflict if it made another one of that name, or if there
	// is a directory in the way that it did not make.
	Create(ctx context.Context, c volume.Claim, access uftp.Access) (volume.Provisioned, error)
	// Lookup finds a directory made by Create; fs.ErrNotExist if there is none.
	Lookup(ctx context.Context, id string, access uftp.Access) (volume.Provisioned, error)
	// Resize records that the volume is at least so large, and returns its size;
	// fs.ErrNotExist if there is no such volume.
	Resize(ctx context.Context, id string, size int64, access uftp.Access) (int64, error)
	// Delete does what the volume's OnDelete says, and succeeds if there is
	// nothing left to do.
	Delete(ctx context.Context, id string, access uftp.Access) error
}

// Config is what a Driver is made of.
type Config struct {
	Name     string // default DefaultName
	Version  string // of the program, for GetPluginInfo; default "unknown"
	Endpoint string // unix:///absolute/path of the socket

	// Mounter serves the node service; nil: none.
	Mounter Mounter
	// Provisioner serves the controller service; nil: none.
	Provisioner Provisioner
	Credentials Credentials // required

	// InlineAllow are the auth services that volumes written into pods may name:
	// URLs that authURL must equal, or begin with up to a slash. None: there are
	// no such volumes.
	InlineAllow []string

	NodeID string // with a Mounter: at most 256 bytes, unique in the cluster
	// MaxVolumes on this node; 0 lets Kubernetes decide.
	MaxVolumes int64

	// Ready says why the program cannot work at the moment, for Probe. It must
	// not depend on a UFTP server. nil: it can.
	Ready func(ctx context.Context) error

	SocketMode  fs.FileMode   // permission bits of the socket; default 0660
	StopTimeout time.Duration // for requests that run when Run is told to stop; default 20 s
	Logger      *slog.Logger  // default: none
}

// Driver is a CSI plugin. Make it with [New].
type Driver struct {
	cfg     Config
	log     *slog.Logger
	busy    keyedLock
	serving atomic.Bool
	inline  allowList
}

// CSI demands domain form; it and Kubernetes limit the length.
var validName = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)

// New checks cfg.
func New(cfg Config) (*Driver, error) {
	if cfg.Name == "" {
		cfg.Name = DefaultName
	}
	if cfg.Version == "" {
		cfg.Version = "unknown"
	}
	if cfg.SocketMode == 0 {
		cfg.SocketMode = 0o660
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 20 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case !validName.MatchString(cfg.Name):
		return nil, fmt.Errorf("driver name %q: want at most 63 letters, digits, '.' and '-'", cfg.Name)
	case cfg.Mounter == nil && cfg.Provisioner == nil:
		return nil, errors.New("driver: neither a mounter nor a provisioner: nothing to serve")
	case cfg.Credentials == nil:
		return nil, errors.New("driver: no credentials")
	case cfg.Mounter != nil && cfg.NodeID == "":
		return nil, errors.New("driver: the node service needs a node id")
	case len(cfg.NodeID) > 256:
		return nil, fmt.Errorf("driver: node id of %d bytes: at most 256", len(cfg.NodeID))
	case cfg.MaxVolumes < 0:
		return nil, fmt.Errorf("driver: maximum of %d volumes: must not be negative", cfg.MaxVolumes)
	}
	if _, err := socketPath(cfg.Endpoint); err != nil {
		return nil, err
	}
	inline, err := parseAllowList(cfg.InlineAllow)
	if err != nil {
		return nil, err
	}
	return &Driver{cfg: cfg, log: cfg.Logger, inline: inline}, nil
}

// Run listens on the endpoint and serves until ctx ends; then it lets the
// requests that run finish within StopTimeout and returns nil.
func (d *Driver) Run(ctx context.Context) error {
	l, err := listen(d.cfg.Endpoint, d.cfg.SocketMode)
	if err != nil {
		return err
	}
	return d.serve(ctx, l)
}

// serve owns l.
func (d *Driver) serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(d.intercept))
	csi.RegisterIdentityServer(server, identityServer{d: d})
	if d.cfg.Mounter != nil {
		csi.RegisterNodeServer(server, nodeServer{d: d})
	}
	if d.cfg.Provisioner != nil {
		csi.RegisterControllerServer(server, controllerServer{d: d})
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	served, stop := context.WithCancel(ctx) // also ends the goroutine when Serve fails
	defer stop()
	wg.Go(func() {
		<-served.Done()
		d.serving.Store(false)
		force := time.AfterFunc(d.cfg.StopTimeout, server.Stop)
		server.GracefulStop()
		force.Stop()
	})
	d.serving.Store(true)
	d.log.Info("serving CSI", "endpoint", d.cfg.Endpoint, "driver", d.cfg.Name, "version", d.cfg.Version,
		"node_service", d.cfg.Mounter != nil, "controller_service", d.cfg.Provisioner != nil)
	if err := server.Serve(l); err != nil {
		return fmt.Errorf("serve CSI on %s: %w", d.cfg.Endpoint, err)
	}
	return nil
}
