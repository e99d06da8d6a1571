package main

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// downAll takes the given cluster down; or all that were made by up, and what
// dead ones left. Clusters of others that run are let alone.
func downAll(o options) error {
	if o.dir != "" {
		dir, err := filepath.Abs(o.dir)
		if err != nil {
			return err
		}
		return cluster{dir}.down()
	}
	unlock, err := lockBase(o.base)
	if err != nil {
		return err
	}
	defer unlock()
	kept, err := filepath.Glob(filepath.Join(o.base, "*", "keep"))
	if err != nil {
		return err
	}
	for _, file := range kept {
		if err := (cluster{filepath.Dir(file)}).down(); err != nil {
			return err
		}
	}
	if err := sweep(o.base); err != nil {
		return err
	}
	return removeBase(o.base)
}

// removeBase removes the base, which is locked, unless it has clusters.
func removeBase(base string) error {
	if err := os.Remove(base); !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// sweep removes what clusters left whose lock nobody holds. The base is locked.
func sweep(base string) error {
	locks, err := filepath.Glob(filepath.Join(base, "*", "lock"))
	if err != nil {
		return err
	}
	for _, file := range locks {
		lock, err := os.Open(file)
		if err != nil {
			return err
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			err = cluster{filepath.Dir(file)}.down()
		} else if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil // it lives
		}
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// lockBase lets one process at a time make and remove clusters. It makes the base.
func lockBase(base string) (unlock func(), err error) {
	for {
		if err := os.MkdirAll(base, 0o700); err != nil {
			return nil, err
		}
		dir, err := os.Open(base)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			dir.Close()
			return nil, err
		}
		ours, err := dir.Stat()
		if err != nil {
			dir.Close()
			return nil, err
		}
		if there, err := os.Stat(base); err == nil && os.SameFile(ours, there) {
			return func() { _ = dir.Close() }, nil
		}
		dir.Close() // somebody removed it while we waited
	}
}
