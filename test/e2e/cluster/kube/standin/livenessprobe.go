package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// livenessprobe answers /healthz with what the driver says to Probe.
func livenessprobe(ctx context.Context, log *slog.Logger, args []string) error {
	set := flag.NewFlagSet("livenessprobe", flag.ContinueOnError)
	address := set.String("csi-address", "/csi/csi.sock", "CSI socket")
	port := set.String("health-port", "9808", "TCP port of /healthz")
	timeout := set.Duration("probe-timeout", time.Second, "how long the driver may take")
	if err := flags(set, args, "v"); err != nil {
		return err
	}
	client, name, err := identity(ctx, *address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), *timeout)
		defer cancel()
		resp, err := client.Probe(ctx, &csi.ProbeRequest{})
		switch {
		case err != nil:
			log.Warn("the driver does not answer", "err", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case resp.GetReady() != nil && !resp.GetReady().GetValue():
			http.Error(w, "the driver is not ready", http.StatusInternalServerError)
		default:
			_, _ = w.Write([]byte("ok"))
		}
	})
	server := &http.Server{Addr: ":" + *port, Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	log.Info("probing", "driver", name, "port", *port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
