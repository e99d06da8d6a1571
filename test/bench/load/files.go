package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// files reads every file of a directory.
func files(j job, c *clock) error {
	dir, err := os.Open(j.names[0])
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1) // in the directory's order
	_ = dir.Close()
	if err != nil {
		return err
	}
	if j.shuffle {
		random := rand.New(rand.NewPCG(1, 2))
		random.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
	}
	return readNames(j, c, names)
}

// names looks at every entry of a directory.
func names(j job, c *clock) error {
	entries, err := os.ReadDir(j.names[0])
	if err != nil {
		return err
	}
	truth, err := j.truthOf(j.names[0])
	if err != nil {
		return err
	}
	if j.truth != "" {
		want, err := os.ReadDir(truth)
		if err != nil || len(want) != len(entries) {
			return errors.Join(err, fmt.Errorf("%d entries of %d: %w", len(entries), len(want), errWrong))
		}
	}
	for _, e := range entries {
		got, err := e.Info()
		if err != nil {
			return err
		}
		c.did(1, 0)
		if j.truth == "" {
			continue
		}
		want, err := os.Lstat(filepath.Join(truth, e.Name()))
		if err != nil || got.Size() != want.Size() || got.ModTime().Unix() != want.ModTime().Unix() || got.IsDir() != want.IsDir() {
			return errors.Join(err, fmt.Errorf("attributes of %s: %w", e.Name(), errWrong))
		}
	}
	return nil
}

// tree reads every file of a directory and of those below.
func tree(j job, c *clock) error {
	var names []string
	root := os.DirFS(j.names[0])
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	return readNames(j, c, names)
}

// readNames reads files; each thread takes the next one.
func readNames(j job, c *clock, names []string) error {
	var next atomic.Int64
	return parallel(j.threads, func(int) error {
		buf := make([]byte, j.piece)
		for !c.over() {
			i := int(next.Add(1) - 1)
			if i >= len(names) {
				return nil
			}
			if err := readFile(j, c, filepath.Join(j.names[0], names[i]), buf); err != nil {
				return err
			}
			c.did(1, 0)
		}
		return nil
	})
}

// command runs a program to its end.
func command(j job, c *clock) error {
	cmd := exec.Command(j.names[0], j.names[1:]...) //nolint:noctx // it is ended by its process group
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := out.Read(buf)
		if j.size == 0 {
			c.did(0, n)
		}
		if err != nil {
			if err != io.EOF {
				return err
			}
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	c.stop()
	c.ops.Add(int64(j.count))
	c.bytes.Add(j.size)
	c.child.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.child.Peak = usage.Maxrss << 10
	}
	return nil
}
