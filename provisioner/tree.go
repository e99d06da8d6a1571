package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"
)

// removeTree removes whatever is at path with everything in it, several files at
// a time. What is gone already is no error, so it can be repeated.
//
// The server follows symbolic links and does not tell that they are any: a link
// to a directory is listed as one. So every name is first removed as a file,
// which takes away a link and leaves alone what it points to. Only what the
// server then calls a directory (EISDIR) is one, and is entered.
//
// It does not show links that lead nowhere, and so cannot be told to remove
// them. Nobody makes links through UFTP; where people made some on the server,
// one may point into a part of the tree that is removed before it is listed.
// That ends in ENOTEMPTY, with all the rest removed.
func removeTree(ctx context.Context, r remote, path string) error {
	t := &tree{remote: r, helpers: semaphore.NewWeighted(sessions - 1)}
	return t.remove(ctx, path, func() error { return nil })
}

// tree is one removal.
type tree struct {
	remote
	helpers *semaphore.Weighted // goroutines beside the one that called removeTree
}

// remove removes what is at path. open gives us the right to change the
// directory it is in, if that is possible.
func (t *tree) remove(ctx context.Context, path string, open func() error) error {
	err := t.Remove(ctx, path)
	if errors.Is(err, fs.ErrPermission) && open() == nil {
		err = t.Remove(ctx, path)
	}
	if errors.Is(err, syscall.EISDIR) {
		err = t.removeDir(ctx, path)
	}
	return unless(err, fs.ErrNotExist)
}

// removeDir removes a directory with everything in it.
func (t *tree) removeDir(ctx context.Context, dir string) error {
	// Programs make directories that even their owner cannot change (Go's module
	// cache is full of them).
	opened := false
	var mu sync.Mutex // guards opened
	open := func() error {
		mu.Lock()
		defer mu.Unlock()
		if opened {
			return nil
		}
		opened = true
		return t.Chmod(ctx, dir, 0o700)
	}
	for attempt := 0; ; attempt++ {
		entries, err := t.List(ctx, dir)
		if errors.Is(err, fs.ErrPermission) && open() == nil {
			entries, err = t.List(ctx, dir)
		}
		if err != nil {
			return err
		}
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = dir + "/" + e.Name
		}
		if err := t.removeAll(ctx, names, open); err != nil {
			return err
		}
		err = t.Rmdir(ctx, dir)
		switch {
		case !errors.Is(err, syscall.ENOTEMPTY):
			return err
		case attempt == 3 && len(entries) > 0:
			return fmt.Errorf("somebody goes on writing: %w", err)
		case attempt > 0 && len(entries) == 0:
			return fmt.Errorf("%q has entries that the server does not list: %w", dir, err)
		case len(entries) == 0:
			_ = open() // without the right to search it, its entries are not listed either
		}
	}
}

// removeAll removes the entries of one directory. The first error stops it.
func (t *tree) removeAll(ctx context.Context, paths []string, open func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, path := range paths {
		if ctx.Err() != nil {
			break
		}
		// Without a helper at hand the caller does it itself: no one ever waits
		// for a helper, however deep the tree is.
		if !t.helpers.TryAcquire(1) {
			if err := t.remove(ctx, path, open); err != nil {
				cancel(err)
			}
			continue
		}
		wg.Go(func() {
			defer t.helpers.Release(1)
			if err := t.remove(ctx, path, open); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
