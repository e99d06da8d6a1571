// Command server is the UFTP server that the benchmark measures against, in a
// process of its own: the real UFTPD of $UFTPD_DIR with -real, else the one of
// package uftptest, and the auth service in front of it. When it answers it
// prints its address as a line of JSON; it ends with SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

type flags struct {
	dir, work, host string
	sessions        int
	real            bool
}

func main() {
	var f flags
	flag.StringVar(&f.dir, "dir", "", "`DIRECTORY` to serve")
	flag.StringVar(&f.work, "work", "", "empty `DIRECTORY` for the server's own files")
	flag.StringVar(&f.host, "host", "", "`ADDRESS` that clients are told to log in at (default: where the server listens)")
	flag.IntVar(&f.sessions, "sessions", 16, "sessions that the user may have")
	flag.BoolVar(&f.real, "real", false, "start the UFTPD of $"+uftptest.EnvUFTPD)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) (err error) {
	cfg := uftptest.Config{Dir: f.dir, PublicHost: f.host, MaxConnections: f.sessions}
	start := func() (*uftptest.Server, error) { return uftptest.New(cfg) }
	if f.real {
		start = func() (*uftptest.Server, error) { return uftptest.NewReal(ctx, cfg, f.work) }
	}
	s, err := start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	caFile := filepath.Join(f.work, "ca.pem")
	if err := os.WriteFile(caFile, s.CABundle(), 0o644); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"auth_url": s.AuthURL(), "ca_file": caFile}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
