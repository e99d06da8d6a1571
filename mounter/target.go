package mounter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeTarget makes the directory that a volume is bound on: nobody can use it
// while nothing is. It reports whether it was there before. Nothing is mounted
// on the target, so it may be touched.
func makeTarget(target string) (created bool, err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return false, fmt.Errorf("target: %w", err)
	}
	err = os.Mkdir(target, 0)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, os.ErrExist) {
		return false, fmt.Errorf("target: %w", err)
	}
	st, err := os.Lstat(target)
	if err != nil {
		return false, fmt.Errorf("target: %w", err)
	}
	if !st.IsDir() {
		return false, fmt.Errorf("target %s is not a directory: %w", target, os.ErrInvalid)
	}
	if err := checkEmpty(target); err != nil {
		return false, err
	}
	if st.Mode().Perm() != 0 {
		if err := os.Chmod(target, 0); err != nil {
			return false, fmt.Errorf("target: %w", err)
		}
	}
	return false, nil
}

// checkEmpty refuses a directory with something in it: it would be hidden now,
// and keep the target from being removed later.
func checkEmpty(target string) error {
	f, err := os.Open(target) //nolint:gosec // the caller's
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer func() { _ = f.Close() }()
	switch names, err := f.Readdirnames(1); {
	case len(names) > 0:
		return fmt.Errorf("target %s is not empty: it holds %q: %w", target, names[0], os.ErrExist)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// removeTarget removes the directory if it is there. It never removes what is
// in one: that would not be ours.
func removeTarget(target string) error {
	err := unix.Rmdir(target)
	switch err {
	case nil, unix.ENOENT, unix.ENOTDIR:
		return nil
	}
	return &os.PathError{Op: "remove target", Path: target, Err: err}
}
