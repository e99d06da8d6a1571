package uftpfs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// removers is how many entries RemoveAll removes at a time.
const removers = 4

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	return f.change("remove", name, func(p string) error {
		err := f.client.Remove(f.ctx, p)
		if errors.Is(err, syscall.EISDIR) {
			return f.client.Rmdir(f.ctx, p)
		}
		return err
	})
}

// RemoveAll removes a file, or a directory with all that is in it. What is not
// there is no error. Links are removed, not what they lead to.
func (f *FS) RemoveAll(name string) error {
	return f.change("remove", name, func(p string) error {
		if p == "." {
			return fs.ErrInvalid
		}
		return removeAll(f.ctx, f.client, p)
	})
}

// removeAll tries to remove the name itself first, whatever it is: a link to a
// directory looks like one, and must not be entered.
func removeAll(ctx context.Context, c *uftp.Client, p string) error {
	err := c.Remove(ctx, p)
	switch {
	case err == nil, gone(err):
		return nil
	case !errors.Is(err, syscall.EISDIR):
		return err
	}
	entries, err := c.List(ctx, p)
	if gone(err) {
		return nil
	} else if err != nil {
		return err
	}
	group, inside := errgroup.WithContext(ctx)
	group.SetLimit(removers)
	for _, e := range entries {
		child := p + "/" + e.Name
		if e.IsDir() { // not in the group: its own entries are
			if err := removeAll(inside, c, child); err != nil {
				return errors.Join(err, group.Wait())
			}
			continue
		}
		group.Go(func() error {
			if err := c.Remove(inside, child); !gone(err) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.Rmdir(ctx, p); !gone(err) {
		return err
	}
	return nil
}

// gone reports whether the name was missing.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) && errIsAbout(err) }
