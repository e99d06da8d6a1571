package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	smallFiles   = 1000
	maxSmallSize = 32 << 10
	sumsFile     = "SHA256SUMS"
)

// generateData fills dir with big.dat of the given size, smallFiles files below
// small/, and their checksums in the format of sha256sum(1). The content is
// random and the same every time. If the checksums are there already, so is the
// rest.
func generateData(ctx context.Context, dir string, size int64) error {
	if size < 0 {
		return usageErrorf("--generate-size must not be negative")
	}
	sums := filepath.Join(dir, sumsFile)
	if _, err := os.Stat(sums); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "small"), 0o755); err != nil { //nolint:gosec // demonstration data is for all
		return err
	}
	random := rand.NewChaCha8([32]byte([]byte("demonstration data of csi-uftp!!")))
	sizes := rand.New(random) //nolint:gosec // reproducible on purpose
	partial, err := os.Create(sums + ".new")
	if err != nil {
		return err
	}
	defer func() { _ = partial.Close() }()
	list := bufio.NewWriter(partial)
	add := func(name string, size int64) error {
		sum, err := generateFile(filepath.Join(dir, name), io.LimitReader(random, size))
		if err != nil {
			return err
		}
		fmt.Fprintf(list, "%x  %s\n", sum, name)
		return context.Cause(ctx)
	}
	if err := add("big.dat", size); err != nil {
		return err
	}
	for i := range smallFiles {
		if err := add(fmt.Sprintf("small/%04d.dat", i), 1+sizes.Int64N(maxSmallSize)); err != nil {
			return err
		}
	}
	if err := errors.Join(list.Flush(), partial.Close()); err != nil {
		return err
	}
	return os.Rename(sums+".new", sums)
}

func generateFile(name string, content io.Reader) (sum []byte, err error) {
	f, err := os.Create(name) //nolint:gosec // below the directory that the user names
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(f, hash), content, make([]byte, 1<<20))
	return hash.Sum(nil), err
}
