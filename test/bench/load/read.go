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

// truth is the file with the right bytes, or nothing to compare with.
type truth struct {
	file *os.File
	buf  []byte
}

// truthOf is the name of the same file by the other way.
func (j job) truthOf(path string) (string, error) {
	rel, err := filepath.Rel(j.root, path)
	return filepath.Join(j.truth, rel), err
}

// openTruth opens the same file by the other way, if there is one to compare with.
func (j job) openTruth(path string) (*truth, error) {
	if j.truth == "" {
		return &truth{}, nil
	}
	name, err := j.truthOf(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	return &truth{file: f}, err
}

func (t *truth) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// check compares what was read at off.
func (t *truth) check(name string, got []byte, off int64) error {
	if t.file == nil {
		return nil
	}
	if len(t.buf) < len(got) {
		t.buf = make([]byte, len(got))
	}
	if _, err := t.file.ReadAt(t.buf[:len(got)], off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(got, t.buf[:len(got)]) {
		return fmt.Errorf("%s at %d: %w", name, off, errWrong)
	}
	return nil
}

// ended checks that the file ends at off.
func (t *truth) ended(name string, off int64) error {
	if t.file == nil {
		return nil
	}
	if fi, err := t.file.Stat(); err != nil || fi.Size() != off {
		return errors.Join(err, fmt.Errorf("%s ends at %d: %w", name, off, errWrong))
	}
	return nil
}

// readFile reads a file from its beginning to its end, or until the time is up.
func readFile(j job, c *clock, path string, buf []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	t, err := j.openTruth(path)
	if err != nil {
		return err
	}
	defer t.close()
	for off := int64(0); !c.over(); {
		n, err := f.Read(buf)
		c.did(0, n)
		if err := t.check(path, buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return t.ended(path, off)
		case err != nil:
			return err
		}
	}
	return nil
}

func read(j job, c *clock) error {
	return parallel(len(j.names), func(i int) error {
		c.did(1, 0)
		return readFile(j, c, j.names[i], make([]byte, j.piece))
	})
}

// ranges reads pieces of one file.
func ranges(j job, c *clock) error {
	f, err := os.Open(j.names[0])
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	var next atomic.Int64
	return parallel(j.threads, func(i int) error {
		t, err := j.openTruth(j.names[0])
		if err != nil {
			return err
		}
		defer t.close()
		random := rand.New(rand.NewPCG(uint64(i), 1))
		buf := make([]byte, j.piece)
		for !c.over() {
			k := next.Add(1) - 1
			off := k * j.stride
			if j.stride == 0 {
				off = random.Int64N(fi.Size()/j.piece) * j.piece
			}
			if j.count > 0 && k >= int64(j.count) || off+j.piece > fi.Size() {
				return nil
			}
			n, err := f.ReadAt(buf, off)
			if err != nil {
				return err
			}
			c.did(1, n)
			if err := t.check(j.names[0], buf[:n], off); err != nil {
				return err
			}
		}
		return nil
	})
}
