package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

const (
	oldPod  = "11111111-1111-4111-8111-111111111111"
	newPod  = "22222222-2222-4222-8222-222222222222"
	evilPod = "33333333-3333-4333-8333-333333333333"
	linkPod = "44444444-4444-4444-8444-444444444444"
)

// TestKeeperSocket plays the kubelet's directory with two keepers, as during an
// upgrade, and with pods of other people that have a keeper in the same place.
func TestKeeperSocket(t *testing.T) {
	root := t.TempDir()
	k := keeperSocket{
		pattern:   filepath.Join(root, "pods/*/volumes/kubernetes.io~empty-dir/csi-uftp-keeper/keeper.sock"),
		namespace: "csi-uftp",
		podLogs:   filepath.Join(root, "logs"),
	}
	socketOf := func(uid string) string { return strings.Replace(k.pattern, "*", uid, 1) }
	mkdir := func(dir string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"csi-uftp_csi-uftp-mount-aaaaa_" + oldPod, "csi-uftp_csi-uftp-mount-bbbbb_" + newPod,
		"evil_csi-uftp-mount-ccccc_" + evilPod, "csi-uftp_csi-uftp-mount-ddddd_" + linkPod,
	} {
		mkdir(filepath.Join(k.podLogs, name))
	}
	if _, err := k.dial(t.Context()); err == nil || !strings.Contains(err.Error(), "no keeper answers") {
		t.Fatalf("without sockets: error %v", err)
	}

	// key asks a keeper for what no other has.
	key := func(dial func(context.Context) (*keeper.Client, error)) string {
		t.Helper()
		c, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return hex.EncodeToString(c.Key())
	}
	start := func(uid string, age time.Duration) (name string, stop func()) {
		t.Helper()
		mkdir(filepath.Dir(socketOf(uid)))
		stop = startKeeper(t, socketOf(uid))
		then := time.Now().Add(-age)
		if err := os.Chtimes(socketOf(uid), then, then); err != nil {
			t.Fatal(err)
		}
		return key(func(ctx context.Context) (*keeper.Client, error) { return keeper.Dial(ctx, socketOf(uid)) }), stop
	}
	older, stopOlder := start(oldPod, time.Hour)
	newer, stopNewer := start(newPod, time.Minute)
	evil, _ := start(evilPod, 0)
	mkdir(filepath.Dir(socketOf(linkPod)))
	if err := os.Symlink(socketOf(evilPod), socketOf(linkPod)); err != nil {
		t.Fatal(err)
	}

	if got := key(k.dial); got != newer {
		t.Errorf("reached %s, want the newer keeper %s", got, newer)
	}
	stopNewer() // its socket stays, as after a crash
	if got := key(k.dial); got != older {
		t.Errorf("reached %s, want the older keeper %s", got, older)
	}
	stopOlder()
	if c, err := k.dial(t.Context()); err == nil {
		_ = c.Close()
		t.Error("a pod of another namespace was taken for the keeper")
	}
	k.namespace = ""
	if got := key(k.dial); got != evil {
		t.Errorf("without a namespace: reached %s, want %s", got, evil)
	}
}

// startKeeper runs a keeper at path until stop is called or the test ends.
func startKeeper(t *testing.T, path string) (stop func()) {
	t.Helper()
	k, err := keeper.New(keeper.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := keeper.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
		_ = k.Close(context.Background())
	}
	t.Cleanup(stop)
	return stop
}

// A pod that has many files where the keeper has its socket does not make the search for
// that long.
func TestKeeperSocketAmongManyFiles(t *testing.T) {
	const files = 5000
	dir := t.TempDir()
	volume := filepath.Join(dir, "pods", "9f1c8f8e-0000-4000-8000-000000000001", "volumes", "keeper")
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(volume, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := keeperSocket{pattern: filepath.Join(dir, "pods", "*", "volumes", "keeper", "keeper.sock")}
	allocated := testing.AllocsPerRun(1, func() {
		if paths, err := k.candidates(); err != nil || len(paths) > 0 {
			t.Errorf("found %v, %v", paths, err)
		}
	})
	if allocated > files/10 {
		t.Errorf("%v allocations: the files of the volume are looked at", allocated)
	}
}

// The pattern may also be a path.
func TestKeeperSocketPatterns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stop := startKeeper(t, filepath.Join(dir, "two", "keeper.sock"))
	for _, pattern := range []string{"two/keeper.sock", "*/keeper.sock", "t?o/*.sock", "two/*", "[t]wo//keeper.sock"} {
		paths, err := keeperSocket{pattern: dir + "/" + pattern}.candidates()
		if err != nil || len(paths) != 1 || paths[0] != filepath.Join(dir, "two", "keeper.sock") {
			t.Errorf("%s finds %v, %v", pattern, paths, err)
		}
	}
	stop()
	if _, err := (keeperSocket{pattern: dir + "/[/keeper.sock"}).candidates(); err == nil {
		t.Error("a pattern that is none is accepted")
	}
}
