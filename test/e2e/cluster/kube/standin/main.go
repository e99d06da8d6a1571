// Command standin stands in for two sidecars of kubernetes-csi whose modules the
// Go module proxy does not have: it is node-driver-registrar or livenessprobe,
// by the name it is called by, with the flags of theirs that our manifests use.
// It speaks the same two interfaces: the kubelet's plugin registration, and
// /healthz over HTTP.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "csi-node-driver-registrar":
		err = registrar(ctx, log, os.Args[1:])
	case "livenessprobe":
		err = livenessprobe(ctx, log, os.Args[1:])
	default:
		err = fmt.Errorf("%s is neither csi-node-driver-registrar nor livenessprobe", name)
	}
	if err != nil {
		log.Error("ended", "err", err)
		os.Exit(1)
	}
}

// flags parses args, of which ignored are taken and mean nothing here.
func flags(set *flag.FlagSet, args []string, ignored ...string) error {
	for _, name := range ignored {
		set.String(name, "", "ignored")
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return errors.New("arguments are not known: " + strings.Join(set.Args(), " "))
	}
	return nil
}

// identity connects to the driver and waits, a minute at most, until it tells
// its name.
func identity(ctx context.Context, address string) (csi.IdentityClient, string, error) {
	target := "unix://" + strings.TrimPrefix(address, "unix://")
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, "", err
	}
	client := csi.NewIdentityClient(conn)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := client.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, "", fmt.Errorf("ask the driver at %s for its name: %w", address, err)
	}
	return client, info.GetName(), nil
}
