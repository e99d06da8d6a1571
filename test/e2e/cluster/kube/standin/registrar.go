package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar tells the kubelet of the driver, and goes on doing so until ctx ends.
func registrar(ctx context.Context, log *slog.Logger, args []string) error {
	set := flag.NewFlagSet("csi-node-driver-registrar", flag.ContinueOnError)
	address := set.String("csi-address", "/csi/csi.sock", "CSI socket, as seen here")
	endpoint := set.String("kubelet-registration-path", "", "CSI socket, as the kubelet sees it")
	dir := set.String("plugin-registration-path", "/registration", "the kubelet's plugins_registry, as seen here")
	mode := set.String("mode", "registration", "registration, or kubelet-registration-probe")
	if err := flags(set, args, "v", "http-endpoint", "health-port", "timeout"); err != nil {
		return err
	}
	if *mode == "kubelet-registration-probe" {
		_, err := os.Stat(mark(*endpoint))
		return err
	}
	_, name, err := identity(ctx, *address)
	if err != nil {
		return err
	}
	_ = os.Remove(mark(*endpoint))
	defer os.Remove(mark(*endpoint))
	socket := filepath.Join(*dir, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	r := &registrarServer{log: log, name: name, endpoint: *endpoint, failed: make(chan error, 1)}
	registration.RegisterRegistrationServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Stop() // also removes the socket
	log.Info("waiting for the kubelet", "driver", name, "socket", socket)
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.failed:
		return err
	case err := <-served:
		return err
	}
}

// mark is the file that says that the kubelet has registered the driver. It is
// beside the driver's socket, where the root file system can be written to.
func mark(endpoint string) string {
	return filepath.Join("/csi", "registered-"+filepath.Base(endpoint))
}

type registrarServer struct {
	registration.UnimplementedRegistrationServer
	log            *slog.Logger
	name, endpoint string
	failed         chan error
}

// GetInfo is the kubelet's question who is there.
func (r *registrarServer) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus ends the program if the kubelet did not like the
// answer, so that the container starts again.
func (r *registrarServer) NotifyRegistrationStatus(_ context.Context, st *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if st.GetPluginRegistered() {
		r.log.Info("registered with the kubelet", "driver", r.name)
		return &registration.RegistrationStatusResponse{}, os.WriteFile(mark(r.endpoint), nil, 0o600)
	}
	select {
	case r.failed <- fmt.Errorf("the kubelet did not register the driver: %s", st.GetError()):
	default:
	}
	return &registration.RegistrationStatusResponse{}, nil
}
