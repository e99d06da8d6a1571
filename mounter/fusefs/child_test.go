package fusefs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
)

// childEnv makes this test binary a program that works on a mount. What maps
// files of a mount must not run in the process that serves it: a page fault
// blocks a thread that Go's garbage collector waits for.
const childEnv = "FUSEFS_TEST_CHILD"

// mapPrefix before a path has the program write a byte to the file, mapped.
const mapPrefix = "map "

// runChild is the program: it does one run of fsxtest, or what mapPrefix says.
func runChild(config string) int {
	if path, ok := strings.CutPrefix(config, mapPrefix); ok {
		if err := writeMapped(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	var cfg fsxtest.Config
	err := json.Unmarshal([]byte(config), &cfg)
	if err == nil {
		err = fsxtest.Run(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runFsx does one run of fsxtest in a child.
func runFsx(t *testing.T, cfg fsxtest.Config) error {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return inChild(t, string(config))
}

// writeMapped makes the first byte of a file a 'b'.
func writeMapped(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	p[0] = 'b'
	return errors.Join(unix.Msync(p, unix.MS_SYNC), unix.Munmap(p), f.Close())
}

// inChild runs the program.
func inChild(t *testing.T, config string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+config)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// command runs a program and fails the test if it fails.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s: %v", name, err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
