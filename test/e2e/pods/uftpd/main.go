// Command uftpd runs the real UFTPD of $UFTPD_DIR with a test auth service in
// front of it, and prints what csi-uftp testserver prints. It is for a pod that
// sees the machine's files, where Python and UFTPD are.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "uftpd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir := flag.String("dir", "", "directory to serve")
	work := flag.String("work", "", "empty directory for the log")
	address := flag.String("address", "", "address to listen at")
	users := flag.String("users", "", "file with a JSON list of users")
	flag.Parse()
	cfg := uftptest.Config{
		Dir: *dir, MaxConnections: 100, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		AuthListen: *address + ":9000", ControlListen: *address + ":0", PublicHost: *address, Hostnames: []string{*address},
	}
	list, err := os.ReadFile(*users)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(list, &cfg.Users); err != nil {
		return err
	}
	s, err := uftptest.NewReal(ctx, cfg, *work)
	if err != nil {
		return err
	}
	fmt.Printf("URL      %s:\n%s", strings.Replace(s.AuthURL(), "https://", "uftp://", 1), s.CABundle())
	<-ctx.Done()
	return s.Close()
}
