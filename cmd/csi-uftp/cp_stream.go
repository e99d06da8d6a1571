package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// cpStream copies from or to standard input, standard output, a device or a pipe.
func (a *app) cpStream(ctx context.Context, args []string, f *copyFlags, span *transfer.Range) error {
	switch {
	case len(args) != 2:
		return usageErrorf("a stream takes one source and one target")
	case f.given("checksum", "limit", "resume", "in-place"):
		return usageErrorf("a stream goes without --checksum, --limit, --resume and --in-place")
	}
	if args[0] == stdio || isStream(args[0]) {
		if span != nil {
			return usageErrorf("--bytes needs a file to read from, not a stream")
		}
		return a.cpFromStream(ctx, args, f)
	}
	p, err := a.remotePlace(args[0])
	if err != nil {
		return err
	}
	return a.withRemotes(ctx, []place{p}, &f.remoteFlags, use{sessions: f.parallel}, func(ctx context.Context, r *remote) (err error) {
		if f.dryRun {
			info, err := r.Stat(ctx, r.names[0])
			if err != nil {
				return err
			}
			return a.only(f, transfer.Item{From: r.tree().Path(r.names[0]), To: args[1], Info: info})
		}
		w := a.stdout
		if args[1] != stdio {
			file, err := os.OpenFile(args[1], os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			w = file
		}
		return copyOut(ctx, w, r.Client, r.names[0], span)
	})
}

// cpFromStream uploads a stream. It gets its name when it has come to its end.
func (a *app) cpFromStream(ctx context.Context, args []string, f *copyFlags) error {
	p, err := a.remotePlace(args[1])
	if err != nil {
		return err
	}
	in := a.stdin
	if args[0] != stdio {
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	return a.withRemotes(ctx, []place{p}, &f.remoteFlags, use{write: true}, func(ctx context.Context, r *remote) error {
		name := r.names[0]
		item := transfer.Item{From: args[0], To: r.tree().Path(name)}
		info, err := r.Stat(ctx, name)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && info.IsDir():
			return fmt.Errorf("%w: %s is a directory; a stream has no name to take there", fs.ErrInvalid, item.To)
		case err == nil && f.noClobber:
			item.Action = transfer.Skip
			return a.only(f, item)
		case f.dryRun:
			return a.only(f, item)
		}
		return putStream(ctx, r.Client, in, name)
	})
}

// only tells of an item that is left alone: it is there already, or nothing shall be
// changed.
func (a *app) only(f *copyFlags, item transfer.Item) error {
	return a.observed(&f.progress, f.dryRun, func(o transfer.Observer) (transfer.Summary, error) {
		o.Found(item)
		o.Done(item, nil)
		if item.Action == transfer.Skip {
			return transfer.Summary{Skipped: 1}, nil
		}
		return transfer.Summary{Files: 1}, nil
	})
}

// cleanupTime is how long removing what was half-written may take.
const cleanupTime = 10 * time.Second

func putStream(ctx context.Context, c *uftp.Client, in io.Reader, name string) error {
	part := path.Join(path.Dir(name), transfer.PartPrefix+rand.Text())
	_, err := c.Put(ctx, part, in)
	if err == nil {
		err = c.Rename(ctx, part, name)
	}
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if rerr := c.Remove(cleanup, part); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}
