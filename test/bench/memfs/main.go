// Command memfs shows a directory's files from memory, by go-fuse and nothing
// else: what a file system that had everything at once would reach. It prints a
// line when it is mounted and ends with SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: memfs DIRECTORY MOUNTPOINT")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1], os.Args[2])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "memfs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, source, target string) error {
	timeout := time.Hour
	server, err := fs.Mount(target, &dir{source: source}, &fs.Options{
		MountOptions: fuse.MountOptions{
			MaxWrite: 1 << 20, MaxReadAhead: 1 << 20, MaxBackground: 64,
			DirectMountStrict: true, AllowOther: true, FsName: "bench", Name: "memfs",
		},
		EntryTimeout: &timeout, AttrTimeout: &timeout,
	})
	if err != nil {
		return err
	}
	if err := raiseReadAhead(target); err != nil {
		return errors.Join(err, server.Unmount())
	}
	fmt.Println("mounted")
	context.AfterFunc(ctx, func() { _ = server.Unmount() })
	server.Wait()
	return nil
}

// raiseReadAhead does for the mount what the driver does for its own.
func raiseReadAhead(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	return os.WriteFile(name, []byte("4096"), 0)
}
