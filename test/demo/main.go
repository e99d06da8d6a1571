// Command demo shows the driver at work on one machine, without Kubernetes: it
// plays the kubelet. It starts the test server, the keeper and the node service
// as processes, publishes a volume through gRPC, works on it, and prints a table
// of what that took. Whatever happens, it leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func main() {
	binary := flag.String("binary", "bin/csi-uftp", "the program to demonstrate")
	size := flag.Int64("size", 1<<30, "size of the big file in bytes")
	dir := flag.String("dir", os.TempDir(), "where to work; about three times the size must be free")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *binary, *dir, *size)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, dir string, size int64) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("mounting as the node service does needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w; load the kernel's FUSE module: modprobe fuse", err)
	}
	if err := checkSpace(dir, 3*size); err != nil {
		return err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	root, err := os.MkdirTemp(dir, "csi-uftp-demo-")
	if err != nil {
		return err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil { // as mountinfo has it
		return err
	}
	// The server, and the workers as nobody, come through here.
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	c := &cast{root: root, binary: binary}
	defer func() { err = errors.Join(err, c.leave()) }()

	fmt.Printf("generating %d MiB and 1,000 small files, starting server, keeper and node …\n", size>>20)
	err = c.start(ctx, size)
	var t *table
	if err == nil {
		t, err = c.play(ctx)
	}
	switch {
	case err == nil:
		t.print(os.Stdout)
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted")
	}
	return c.explain(err)
}

func checkSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("%s has %d MiB free, the demonstration needs %d: give another directory with -dir", dir, free>>20, need>>20)
	}
	return nil
}

// leave ends the processes and removes everything. Mounts go first, so that
// nothing waits for them; there are none unless something went wrong.
func (c *cast) leave() error {
	var errs []error
	for _, p := range []*process{c.node, c.keeper} {
		errs = append(errs, p.stop())
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(c.root))
	errs = append(errs, err)
	for _, m := range slices.Backward(mounts) {
		errs = append(errs, fmt.Errorf("%s was left mounted", m.Mountpoint),
			unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	}
	errs = append(errs, c.server.stop(), os.RemoveAll(c.root))
	return errors.Join(errs...)
}

// explain adds the ends of the processes' logs to an error.
func (c *cast) explain(err error) error {
	var b strings.Builder
	for _, name := range []string{"server", "keeper", "node"} {
		data, readErr := os.ReadFile(filepath.Join(c.root, name+".log"))
		if readErr != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		for _, line := range lines[max(0, len(lines)-10):] {
			if line == "" {
				continue
			}
			fmt.Fprintf(&b, "\n  %s: %s", name, line)
		}
	}
	return fmt.Errorf("%w%s", err, b.String())
}
