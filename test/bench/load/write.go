package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
)

// content is what is written: the same every time, and no two pieces alike.
type content struct{ noise []byte }

func newContent() content {
	c := content{make([]byte, 9<<20)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(c.noise)
	return c
}

// at returns n bytes, at most 1 MiB, for the k-th piece.
func (c content) at(k, n int64) []byte {
	begin := k * 4099 % (8 << 20)
	return c.noise[begin : begin+n]
}

func write(j job, c *clock) error {
	if err := writeFile(j, c, j.names[0]); err != nil {
		return err
	}
	c.stop()
	return checkWritten(j, j.names[0], j.size)
}

// writeFile writes a file, has it made durable, and closes it.
func writeFile(j job, c *clock, path string) error {
	data := newContent()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for off := int64(0); off < j.size; off += j.piece {
		n, err := f.Write(data.at(off/j.piece, min(j.piece, j.size-off)))
		c.did(1, n)
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkWritten reads at the other end what was written.
func checkWritten(j job, name string, size int64) error {
	if j.truth == "" {
		return nil
	}
	path, err := j.truthOf(name)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	data := newContent()
	buf := make([]byte, j.piece)
	for off := int64(0); off < size; off += j.piece {
		n := min(j.piece, size-off)
		if _, err := io.ReadFull(f, buf[:n]); err != nil {
			return fmt.Errorf("%s at %d: %w: %w", name, off, errWrong, err)
		}
		if !bytes.Equal(buf[:n], data.at(off/j.piece, n)) {
			return fmt.Errorf("%s at %d: %w", name, off, errWrong)
		}
	}
	if n, _ := f.Read(buf); n > 0 {
		return fmt.Errorf("%s is too long: %w", name, errWrong)
	}
	return nil
}

// put writes small files, one piece each.
func put(j job, c *clock) error {
	data := newContent()
	var next atomic.Int64
	name := func(k int64) string { return fmt.Sprintf("new%05d", k) }
	err := parallel(j.threads, func(int) error {
		for {
			k := next.Add(1) - 1
			if k >= int64(j.count) || c.over() {
				return nil
			}
			err := os.WriteFile(filepath.Join(j.names[0], name(k)), data.at(k, j.piece), 0o644)
			if err != nil {
				return err
			}
			c.did(1, int(j.piece))
		}
	})
	c.stop()
	if err != nil || j.truth == "" {
		return err
	}
	truth, err := j.truthOf(j.names[0])
	if err != nil {
		return err
	}
	for k := range c.ops.Load() {
		got, err := os.ReadFile(filepath.Join(truth, name(k)))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, data.at(k, j.piece)) {
			return fmt.Errorf("%s: %w", name(k), errWrong)
		}
	}
	return nil
}

// mixed reads a file and writes another at the same time.
func mixed(j job, c *clock) error {
	err := parallel(2, func(i int) error {
		if i == 0 {
			return readFile(j, c, j.names[0], make([]byte, j.piece))
		}
		return writeFile(j, c, j.out)
	})
	c.stop()
	if err != nil {
		return err
	}
	return checkWritten(j, j.out, j.size)
}
