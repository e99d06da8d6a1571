package pods_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"
)

// suite is what all tests share.
type suite struct {
	cluster
	server *server
}

// shared installs the driver when the first test asks for it.
var shared = sync.OnceValues(setup)

// TestMain removes what was installed, and looks whether the node is as before.
func TestMain(m *testing.M) {
	if os.Getenv("KUBECONFIG") == "" {
		os.Exit(m.Run()) // each test says that it is skipped
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal kills
		fmt.Fprintln(os.Stderr, "interrupted: removing what was installed")
		_ = teardown()
		os.Exit(130)
	}()
	code := m.Run()
	if err := teardown(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// before is the node's mount table before anything was installed.
var before = sync.OnceValues(func() (map[string]int, error) { return environment().mounts(context.Background()) })

func setup() (*suite, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	s := &suite{cluster: environment()}
	if _, err := before(); err != nil {
		return nil, err
	}
	if err := s.loadImages(ctx); err != nil {
		return nil, err
	}
	var err error
	// The server comes first: its address is in what is installed.
	if s.server, err = s.startServer(ctx, serverNamespace, "server"); err != nil {
		return nil, err
	}
	return s, s.install(ctx, s.server)
}

// teardown is what a user does who has enough of it.
func teardown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := environment()
	err := errors.Join(c.removeTests(ctx), c.uninstall(ctx))
	if err != nil {
		return err
	}
	was, err := before()
	if err != nil {
		return err
	}
	return eventually(ctx, time.Minute, func(ctx context.Context) error {
		is, err := c.mounts(ctx)
		if err != nil {
			return err
		}
		for mount, n := range is {
			if n > was[mount] {
				return fmt.Errorf("the node has a mount that it had not before: %s", mount)
			}
		}
		return nil
	})
}

// run returns the suite, installed.
func run(t *testing.T) *suite {
	t.Helper()
	if os.Getenv("KUBECONFIG") == "" {
		t.Skip("KUBECONFIG is not set: make e2e-local makes a cluster")
	}
	s, err := shared()
	if err != nil {
		t.Fatalf("install: %v", err)
	}
	return s
}
