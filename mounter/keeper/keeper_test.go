package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// TestMain is also what tests start: strangers who connect to a keeper, keepers
// of other users, and bad workers. Good ones are tested with the manager, in
// package mounter.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	switch os.Args[1] {
	case "dial":
		_, err = keeper.Dial(ctx, os.Args[2])
	case "rummage":
		err = rummage(ctx, os.Args[2])
	case "keeper":
		err = serve(ctx, os.Args[2])
	case "poor":
		err = servePoor(ctx, os.Args[2])
	case "prisoner":
		prisoner(os.Args[2], os.Args[3])
	case "babble":
		_, err = unix.Write(4, []byte(`{"v":1,"id":1,"method":"list"}`))
		<-ctx.Done()
	}
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(ctx context.Context, path string) error {
	k, err := keeper.New(keeper.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l, err := keeper.Listen(path)
	if err != nil {
		return err
	}
	return k.Serve(ctx, l)
}

// servePoor is serve in a process that has no descriptor left for a connection, until
// the keeper complains.
func servePoor(ctx context.Context, path string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	complaint := make(complaints, 1)
	go func() {
		<-complaint
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}()
	k, err := keeper.New(keeper.Config{Logger: slog.New(slog.NewTextHandler(complaint, nil))})
	if err != nil {
		return err
	}
	l, err := keeper.Listen(path)
	if err != nil {
		return err
	}
	// From here on there is none but what is open already.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		return err
	}
	return k.Serve(ctx, l)
}

// complaints is a log of which only the beginning is noticed.
type complaints chan struct{}

func (c complaints) Write(b []byte) (int, error) {
	select {
	case c <- struct{}{}:
	default:
	}
	return len(b), nil
}

// rummage tries what a keeper lets its own user do.
func rummage(ctx context.Context, path string) error {
	c, err := keeper.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	what := "with"
	if len(c.Key()) == 0 {
		what = "without"
	}
	_, err = c.List(ctx)
	if errors.Is(err, os.ErrPermission) {
		err = errors.New("permission")
	}
	_, err = fmt.Printf("greeted %s a key; list: %v\n", what, err)
	return err
}

// run starts this program as another until the test ends.
func run(t *testing.T, attr *syscall.SysProcAttr, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// command runs this program as another.
func command(t *testing.T, attr *syscall.SysProcAttr, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.SysProcAttr = attr
	out, err := cmd.Output()
	return string(out), err
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not in time")
		}
	}
}

func start(t *testing.T, path string, cfg keeper.Config) {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	k, err := keeper.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := keeper.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := k.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// socketPath is longer than a socket address, as below a kubelet's directory.
func socketPath(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "keeper.sock")
}

func TestSocket(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, nil, 0o666); err != nil { // left by an earlier keeper
		t.Fatal(err)
	}
	start(t, path, keeper.Config{})
	st, err := os.Stat(path)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket %v, %v; want mode 0600", st, err)
	}
	a, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	b, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Key()) != string(b.Key()) || len(a.Key()) != 32 {
		t.Error("two connections see different keepers")
	}
	_ = b.Close()
	if !a.Alive() || b.Alive() {
		t.Errorf("alive: %v and %v, want only the first", a.Alive(), b.Alive())
	}
	if _, ok := <-b.Deaths(); ok {
		t.Error("a death on a closed connection")
	}
}

// A keeper without a descriptor for a connection has one later, and its mounts do not
// end because of that.
func TestNoDescriptorLeft(t *testing.T) {
	path := socketPath(t)
	run(t, nil, "poor", path)
	eventually(t, func() bool {
		c, err := keeper.Dial(t.Context(), path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming somebody else needs root")
	}
	const stranger, friend = 65001, 65002
	path := socketPath(t)
	start(t, path, keeper.Config{AllowUIDs: []uint32{friend}})
	// Whoever reaches the socket in spite of its mode.
	for p := path; p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]bool{stranger: false, friend: true} {
		out, err := command(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, "dial", path)
		if (err == nil) != want {
			t.Errorf("user %d: %v %s; want to get in: %v", uid, err, out, want)
		}
	}
}

// A worker that cannot start, or starts and says nothing, is an error and not a
// wait.
func TestBadWorkers(t *testing.T) {
	for name, command := range map[string][]string{
		"no such file":  {"/no/such/file", "worker"},
		"ends at once":  {"/bin/false", "worker"},
		"never answers": {"/bin/sleep", "100"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			start(t, path, keeper.Config{Command: command})
			c, err := keeper.Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			credential, err := wire.Seal("test", []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = credential.Close() }()
			limit := 20 * time.Second
			if name == "never answers" {
				limit = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err = c.Create(ctx, "m", volume.Spec{}, nil, credential)
			if err == nil || (name == "never answers") != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("create: %v", err)
			}
			t.Log(err)
			if names, err := c.List(t.Context()); err != nil || len(names) > 0 {
				t.Errorf("list: %v, %v", names, err)
			}
		})
	}
}

func TestUnknownMount(t *testing.T) {
	path := socketPath(t)
	start(t, path, keeper.Config{})
	c, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Get(t.Context(), "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
	if err := c.SetNote(t.Context(), "none", []byte(`{}`)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("note: %v", err)
	}
	if _, err := c.Stats(t.Context(), "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stats: %v", err)
	}
	if _, clean, err := c.Remove(t.Context(), "none", time.Minute); err != nil || !clean {
		t.Errorf("remove: %v, %v; what is not there has ended", clean, err)
	}
}
