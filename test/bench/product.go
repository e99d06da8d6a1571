package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// product is csi-uftp mount: node and keeper in one process, and a worker.
type product struct {
	flags     []string // beside those for the server
	diskCache bool     // with a directory for the disk cache, which outlives mounts
}

const productName = "csi-uftp"

func (product) name() string { return productName }
func (product) writes() bool { return true }

func (p product) missing() string {
	if !p.diskCache {
		return ""
	}
	for _, a := range volume.Attributes() {
		if a.Name == "cacheDir" {
			return ""
		}
	}
	return "there is no disk cache yet"
}

func (p product) mount(ctx context.Context, r *rig, dir string) (*mounted, error) {
	stats := r.path("stats.json")
	if err := os.Remove(stats); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	args := []string{r.product, "mount", "--ca-file", r.login.CAFile, "--stats-file", stats}
	if r.link.Delay != "" {
		args = append(args, "--max-sessions", strconv.Itoa(r.link.Sessions))
	}
	if p.diskCache {
		cache := r.path("cache")
		if err := os.MkdirAll(cache, 0o777); err != nil {
			return nil, err
		}
		if err := os.Chmod(cache, 0o777); err != nil { // workers are nobody
			return nil, err
		}
		args = append(args, "--cache-dir", cache)
	}
	user := uftptest.DefaultUser()
	env := []string{"UFTP_USER=" + user.Name, "UFTP_PASSWORD=" + user.Password}
	main, err := start(r.root, "mount", env, append(append(args, p.flags...), r.url(), dir)...)
	if err != nil {
		return nil, err
	}
	m := &mounted{dir: dir, main: main, end: syscall.SIGINT}
	err = main.await(ctx, says(main.log, "mounted on"))
	if err == nil {
		m.pid, err = childOf(main.cmd.Process.Pid)
	}
	if err != nil {
		m.unmount()
		return nil, err
	}
	m.counters = func(ctx context.Context) (map[string]int64, error) { return counters(ctx, main, stats) }
	return m, nil
}

// counters asks the mount for them.
func counters(ctx context.Context, main *process, file string) (map[string]int64, error) {
	_ = os.Remove(file)
	if err := main.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := main.await(ctx, func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c map[string]int64
	return c, json.Unmarshal(text, &c)
}

// productFlags are the words of $BENCH_FLAGS.
func productFlags() []string { return strings.Fields(os.Getenv("BENCH_FLAGS")) }

// programs is the directory of the benchmark's own programs: that of this one.
func programs() (string, error) {
	self, err := os.Executable()
	return filepath.Dir(self), err
}
