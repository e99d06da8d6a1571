// Command bench measures csi-uftp beside the wire itself, what go-fuse can do,
// the other programs that mount a UFTP server, and a local file; over this
// machine's loopback and over links with a delay. It prints a table and writes
// the same as JSON. "make bench" builds and runs it, with
//
//	BENCH=regexp      only what matches, of LINK/WORKLOAD/SUBJECT
//	SIZE=4G           of the big file
//	LIMIT=10s             for a run, where a part of the work says as much
//	QUICK=1           two minutes' worth: 256 MiB, csi-uftp and the reference
//	UFTPD_DIR=dir     against the real UFTPD in dir
//	BENCH_DIR=dir     where to work; default /dev/shm if there is room
//	BENCH_FLAGS=...   more flags for csi-uftp mount
//
// A ratio is between figures of the same run, on the same data. Wrong bytes are
// an error, a bad figure is none. Whatever happens, it leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// options is what to do.
type options struct {
	binary, out, dir string
	only             *regexp.Regexp
	size             int64
	limit            time.Duration
	quick            bool
}

func main() {
	binary := flag.String("binary", "bin/csi-uftp", "the program to measure")
	out := flag.String("out", "build/bench.json", "`FILE` for the figures")
	only := flag.String("only", os.Getenv("BENCH"), "regular `EXPRESSION` for LINK/WORKLOAD/SUBJECT")
	size := flag.String("size", os.Getenv("SIZE"), "of the big file, as 4G or 256M")
	dir := flag.String("dir", os.Getenv("BENCH_DIR"), "where to work")
	limit := flag.String("limit", os.Getenv("LIMIT"), "time of a run; default 10s, or 2s when -quick")
	quick := flag.Bool("quick", os.Getenv("QUICK") != "" && os.Getenv("QUICK") != "0", "measure less")
	markdown := flag.String("markdown", "", "print the `FILE` of another run as markdown, and do nothing else")
	flag.Parse()
	if *markdown != "" {
		r, err := loadReport(*markdown)
		if err == nil {
			r.markdown(os.Stdout)
		}
		exit(err)
	}
	o := options{binary: *binary, out: *out, dir: *dir, quick: *quick, limit: 10 * time.Second}
	if o.quick {
		o.limit = 2 * time.Second
	}
	var err error
	if *limit != "" {
		if o.limit, err = time.ParseDuration(*limit); err != nil {
			exit(err)
		}
	}
	if o.only, err = regexp.Compile(*only); err == nil {
		o.size, err = parseSize(*size, o.quick)
	}
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, o)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// parseSize reads 4G, 256M or a number of bytes.
func parseSize(text string, quick bool) (int64, error) {
	switch {
	case text == "" && quick:
		return 256 << 20, nil
	case text == "":
		return 4 << 30, nil
	}
	unit := int64(1)
	number := strings.TrimRight(strings.ToUpper(text), "IB")
	if i := strings.IndexAny(number, "KMG"); i >= 0 && i == len(number)-1 {
		unit = map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[number[i]]
		number = number[:i]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	const least = 16 << 20
	if err != nil || n*unit < least {
		return 0, fmt.Errorf("SIZE=%s: must be like 4G or 256M, and at least 16M", text)
	}
	return n * unit, nil
}

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("mounting, and resetting a process's peak of memory, needs root")
	}
	const files, written, copies = 2, 1, 1 // times the size
	need := (files+written+copies)*o.size + (2*smallCount+3*heapCount)*smallSize
	if o.dir == "" {
		if o.dir, err = workDir(need); err != nil {
			return err
		}
	}
	r := &rig{}
	if r.product, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if r.bin, err = programs(); err != nil {
		return err
	}
	if r.root, err = os.MkdirTemp(o.dir, "csi-uftp-bench-"); err != nil {
		return err
	}
	defer func() {
		detach(r.root)
		err = errors.Join(err, os.RemoveAll(r.root))
	}()
	for _, d := range []string{r.root, r.path(dataDir), r.path("mnt")} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil { // others come through
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "generating files of %d MiB in %s …\n", o.size>>20, r.root)
	if err := generate(ctx, r.path(dataDir), o.size); err != nil {
		return err
	}
	rep := &report{Date: time.Now().UTC(), Commit: commit(), Machine: machine(), Server: "uftptest", Dir: o.dir, Size: o.size}
	if os.Getenv(uftptest.EnvUFTPD) != "" {
		rep.Server = "UFTPD"
	}
	err = runLinks(ctx, o, r, rep)
	if len(rep.Rows) == 0 {
		return errors.Join(err, fmt.Errorf("nothing was measured; is there anything like %q?", o.only))
	}
	return errors.Join(err, rep.text(os.Stdout), os.MkdirAll(filepath.Dir(o.out), 0o755), rep.save(o.out))
}
