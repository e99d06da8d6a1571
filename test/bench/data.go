package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What is served.
const (
	bigFile    = "big.dat"
	smallDir   = "small" // smallCount files of smallSize
	crowdDir   = "crowd" // crowdCount empty files
	heapDir    = "heap"  // heapCount files of smallSize
	treeDir    = "tree"  // treeDirs directories, together smallCount files of smallSize
	parts      = 8       // files of a partShare-th of the size of bigFile each
	partShare  = 16
	partName   = "part%d" // in the root
	outDir     = "out"    // for what is written
	smallCount = 2000
	smallSize  = 10 << 10
	crowdCount = 20000
	heapCount  = 10000
	treeDirs   = 40
)

// generate fills a directory: random bytes, the same every time.
func generate(ctx context.Context, dir string, size int64) error {
	random := rand.NewChaCha8([32]byte([]byte("the benchmark's bytes, 32 of them")[:32]))
	write := func(name string, n int64) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return writeRandom(filepath.Join(dir, name), io.LimitReader(random, n))
	}
	for _, d := range []string{smallDir, crowdDir, heapDir, treeDir, outDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	err := write(bigFile, size)
	for i := range parts {
		err = errors.Join(err, write(fmt.Sprintf(partName, i), size/partShare))
	}
	for i := range treeDirs {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, treeDir, fmt.Sprintf("%02d", i)), 0o755))
	}
	for i := range smallCount {
		err = errors.Join(err, write(fmt.Sprintf("%s/%05d.dat", smallDir, i), smallSize),
			write(fmt.Sprintf("%s/%02d/%05d.dat", treeDir, i%treeDirs, i), smallSize))
	}
	for i := range heapCount {
		err = errors.Join(err, write(fmt.Sprintf("%s/%05d.dat", heapDir, i), smallSize))
	}
	for i := range crowdCount {
		err = errors.Join(err, write(fmt.Sprintf("%s/%05d", crowdDir, i), 0))
	}
	return err
}

func writeRandom(path string, content io.Reader) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.ReadFrom(content); err != nil {
		return err
	}
	return w.Flush()
}

// workDir is where to work: in memory if there is room, so that no disk is
// measured, else among the temporary files.
func workDir(need int64) (string, error) {
	const shm = "/dev/shm"
	var st unix.Statfs_t
	if unix.Statfs(shm, &st) == nil && int64(st.Bavail)*st.Bsize > need && availableMemory() > need+need/2 {
		return shm, nil
	}
	tmp := os.TempDir()
	if err := unix.Statfs(tmp, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: tmp, Err: err}
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return "", fmt.Errorf("%s has %d MiB free, the benchmark needs %d: give a smaller SIZE, or another BENCH_DIR", tmp, free>>20, need>>20)
	}
	return tmp, nil
}

// availableMemory is what can be had without swapping, in bytes, as the kernel
// estimates it.
func availableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			var kib int64
			_, _ = fmt.Sscan(rest, &kib)
			return kib << 10
		}
	}
	return 0
}
