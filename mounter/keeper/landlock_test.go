package keeper_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// prisoner is a worker that tries what no worker needs, and writes down what it
// could do.
func prisoner(open, closed string) {
	try := func(what string, err error) {
		if err == nil {
			_, _ = fmt.Fprintln(os.Stderr, what)
		}
	}
	_, err := os.ReadFile("/etc/passwd")
	try("read", err)
	try("write in "+filepath.Base(open), os.WriteFile(filepath.Join(open, "new"), nil, 0o600))
	try("write in "+filepath.Base(closed), os.WriteFile(filepath.Join(closed, "new"), nil, 0o600))
	try("truncate", os.Truncate(filepath.Join(closed, "old"), 0))
	try("remove", os.Remove(filepath.Join(closed, "old")))
	try("link", os.Symlink("x", filepath.Join(closed, "link")))
	try("device", unix.Mkfifo(filepath.Join(closed, "fifo"), 0o600))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(closed, "sock")})
	}
	try("socket", err)
	_, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
	try("look into the keeper", err)
	try("signal the keeper", unix.Kill(os.Getppid(), 0))
}

func TestWorkerIsWalledIn(t *testing.T) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 6 {
		t.Skipf("Landlock version %d, %v", version, errno)
	}
	dir := t.TempDir()
	open, closed, log := filepath.Join(dir, "open"), filepath.Join(dir, "closed"), filepath.Join(dir, "log")
	for _, d := range []string{open, closed} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(closed, "old"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	// Rights are not what keeps the worker out: it may be the same user.
	for p := closed; p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{open, filepath.Join(closed, "old")} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stderr.Close() }) // after the keeper
	path := filepath.Join(dir, "keeper.sock")
	start(t, path, keeper.Config{Command: []string{"/proc/self/exe", "prisoner", open, closed}, Writable: []string{open}, Stderr: stderr})
	c, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := create(t, c, volume.Spec{}); err == nil || !strings.Contains(err.Error(), "exit status 0") {
		t.Errorf("create: %v", err)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), "read\nwrite in open\n"; got != want {
		t.Errorf("the worker could\n%swant\n%s", got, want)
	}
}

// A volume's cache may be where the administrator said, and nowhere else.
func TestCacheDir(t *testing.T) {
	dir := t.TempDir()
	path, allowed := filepath.Join(dir, "keeper.sock"), filepath.Join(dir, "cache")
	if err := os.Mkdir(allowed, 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, path, keeper.Config{Command: []string{"/proc/self/exe", "prisoner", allowed, dir}, Writable: []string{allowed}, CacheDirSize: 1 << 30})
	c, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := create(t, c, volume.Spec{CacheDir: allowed, CacheDirSize: 1<<30 + 1}); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("too large: %v", err)
	}
	for cache, may := range map[string]bool{
		"": true, allowed: true, allowed + "/a/b": false,
		dir: false, "/": false, allowed + "2": false, allowed + "/..": false, allowed + "/../cache2": false, "cache": false,
	} {
		// This worker ends in any case.
		if err := create(t, c, volume.Spec{CacheDir: cache}); errors.Is(err, volume.ErrInvalid) == may {
			t.Errorf("%q: %v", cache, err)
		}
	}
}

// The keeper's own user, which is its workers' too unless it is root, may see
// that it lives.
func TestOwnUserMayOnlyGreet(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming somebody else needs root")
	}
	const user = 65003
	dir := t.TempDir()
	for p := dir; p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "keeper.sock")
	cred := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	run(t, cred, "keeper", path)
	var out string
	eventually(t, func() bool {
		var err error
		out, err = command(t, cred, "rummage", path)
		return err == nil
	})
	if out != "greeted without a key; list: permission\n" {
		t.Errorf("its own user: %s", out)
	}
	c, err := keeper.Dial(t.Context(), path) // root
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.List(t.Context()); err != nil || len(c.Key()) != 32 {
		t.Errorf("root: %v, a key of %d bytes", err, len(c.Key()))
	}
}

// A worker that says what no worker says ends.
func TestWorkerThatBreaksTheProtocolEnds(t *testing.T) {
	path := socketPath(t)
	start(t, path, keeper.Config{Command: []string{"/proc/self/exe", "babble"}})
	c, err := keeper.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	// Killed, or told to end because it could not be called: what comes first.
	if err := create(t, c, volume.Spec{}); err == nil || !strings.Contains(err.Error(), "worker died: signal: ") {
		t.Errorf("create: %v, want a worker that was ended", err)
	}
}

func create(t *testing.T, c *keeper.Client, spec volume.Spec) error {
	t.Helper()
	credential, err := wire.Seal("test", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = credential.Close() }()
	return c.Create(t.Context(), "m", spec, nil, credential)
}
