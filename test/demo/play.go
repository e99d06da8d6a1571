package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
)

const (
	chunk       = 1 << 20
	writeSize   = 256 << 20
	randomReads = 4000
	randomSize  = 4 << 10
	readers     = 16
)

// play is what a pod would do, from publishing to unpublishing.
func (c *cast) play(ctx context.Context) (*table, error) {
	t := &table{}
	var v *volume
	err := t.time(ctx, "publish", func() (work, error) {
		var err error
		v, err = c.publish(ctx)
		return work{}, err
	})
	if err != nil {
		return nil, err
	}
	workErr := c.work(ctx, t, v.target)
	err = t.time(context.WithoutCancel(ctx), "unpublish", func() (work, error) { return work{}, v.unpublish(ctx) })
	if err := errors.Join(workErr, err); err != nil {
		return nil, err
	}
	if mounted, err := mountinfo.Mounted(v.target); err == nil && mounted {
		return nil, errors.New("the target is still mounted")
	}
	return t, nil
}

func (c *cast) work(ctx context.Context, t *table, target string) error {
	sums, err := readSums(c.path("served", "SHA256SUMS"))
	if err != nil {
		return err
	}
	copies := c.path("copies")
	written := make([]byte, writeSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(written)
	for _, step := range []struct {
		name string
		do   func() (work, error)
	}{
		{"list small/, with sizes and times", func() (work, error) { return list(filepath.Join(target, "small")) }},
		{fmt.Sprintf("random reads of 4 KiB, %d at a time", readers), func() (work, error) {
			return readRandomly(ctx, filepath.Join(target, "big.dat"), c.path("served", "big.dat"))
		}},
		{"read big.dat", func() (work, error) { return readAll(ctx, filepath.Join(target, "big.dat")) }},
		{"copy small/ to the local disk", func() (work, error) {
			return copyTree(ctx, filepath.Join(target, "small"), filepath.Join(copies, "small"))
		}},
		{"copy big.dat to the local disk", func() (work, error) {
			return copyFile(ctx, filepath.Join(target, "big.dat"), filepath.Join(copies, "big.dat"))
		}},
		{"check the copies' SHA-256 sums", func() (work, error) { return check(ctx, copies, sums) }},
		{"write a file", func() (work, error) { return write(filepath.Join(target, "written.dat"), written) }},
		{"read it back and compare", func() (work, error) { return compare(filepath.Join(target, "written.dat"), written) }},
		{"compare with the server's disk", func() (work, error) { return compare(c.path("served", "written.dat"), written) }},
	} {
		if err := t.time(ctx, step.name, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// readSums reads the output of sha256sum.
func readSums(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	sums := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not a checksum", path, lines.Text())
		}
		sums[name] = sum
	}
	return sums, lines.Err()
}

func list(dir string) (work, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return work{}, err
	}
	for _, e := range entries {
		if _, err := e.Info(); err != nil {
			return work{}, err
		}
	}
	return work{files: len(entries)}, nil
}

func readAll(ctx context.Context, path string) (work, error) {
	return copyTo(ctx, io.Discard, path)
}

// copyTo copies in big pieces, which is what cp does too.
func copyTo(ctx context.Context, w io.Writer, path string) (work, error) {
	f, err := os.Open(path)
	if err != nil {
		return work{}, err
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, chunk)
	var total int64
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return work{}, err
		}
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return work{files: 1, bytes: total}, nil
		}
		if err != nil {
			return work{}, err
		}
	}
	return work{}, context.Cause(ctx)
}

func copyFile(ctx context.Context, from, to string) (_ work, err error) {
	out, err := os.Create(to)
	if err != nil {
		return work{}, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return copyTo(ctx, out, from)
}

func copyTree(ctx context.Context, from, to string) (work, error) {
	var sum work
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		w, err := copyFile(ctx, path, filepath.Join(to, rel))
		sum.files, sum.bytes = sum.files+w.files, sum.bytes+w.bytes
		return err
	})
	return sum, err
}

func check(ctx context.Context, dir string, sums map[string]string) (work, error) {
	var total work
	for name, want := range sums {
		hash := sha256.New()
		w, err := copyTo(ctx, hash, filepath.Join(dir, name))
		if err != nil {
			return total, err
		}
		if got := hex.EncodeToString(hash.Sum(nil)); got != want {
			return total, fmt.Errorf("%s: SHA-256 is %s, want %s", name, got, want)
		}
		total.files, total.bytes = total.files+1, total.bytes+w.bytes
	}
	return total, nil
}

// readRandomly compares reads at random offsets with the server's own file.
func readRandomly(ctx context.Context, path, truth string) (work, error) {
	f, err := os.Open(path)
	if err != nil {
		return work{}, err
	}
	defer func() { _ = f.Close() }()
	local, err := os.Open(truth)
	if err != nil {
		return work{}, err
	}
	defer func() { _ = local.Close() }()
	info, err := local.Stat()
	if err != nil {
		return work{}, err
	}
	var group sync.WaitGroup
	errs := make([]error, readers)
	for i := range readers {
		group.Go(func() {
			got, want := make([]byte, randomSize), make([]byte, randomSize)
			for range randomReads / readers {
				off := rand.Int64N(info.Size() - randomSize)
				_, err1 := f.ReadAt(got, off)
				_, err2 := local.ReadAt(want, off)
				if errs[i] = errors.Join(err1, err2, context.Cause(ctx)); errs[i] != nil {
					return
				}
				if !bytes.Equal(got, want) {
					errs[i] = fmt.Errorf("wrong bytes at %d", off)
					return
				}
			}
		})
	}
	group.Wait()
	return work{files: randomReads, bytes: randomReads * randomSize, unit: "reads"}, errors.Join(errs...)
}

func write(path string, data []byte) (_ work, err error) {
	f, err := os.Create(path)
	if err != nil {
		return work{}, err
	}
	for rest := data; len(rest) > 0 && err == nil; {
		n := min(chunk, len(rest))
		_, err = f.Write(rest[:n])
		rest = rest[n:]
	}
	return work{files: 1, bytes: int64(len(data))}, errors.Join(err, f.Close())
}

func compare(path string, want []byte) (work, error) {
	f, err := os.Open(path)
	if err != nil {
		return work{}, err
	}
	defer func() { _ = f.Close() }()
	got := make([]byte, chunk)
	for rest := want; ; {
		n, err := f.Read(got)
		if n > len(rest) || !bytes.Equal(got[:n], rest[:n]) {
			return work{}, fmt.Errorf("other content after %d bytes", len(want)-len(rest))
		}
		rest = rest[n:]
		switch {
		case errors.Is(err, io.EOF) && len(rest) > 0:
			return work{}, fmt.Errorf("%d bytes are missing", len(rest))
		case errors.Is(err, io.EOF):
			return work{files: 1, bytes: int64(len(want))}, nil
		case err != nil:
			return work{}, err
		}
	}
}
