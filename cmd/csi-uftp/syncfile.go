package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// syncFile makes one file like another. If both are there, one of them here, only
// the differences are sent.
func (a *app) syncFile(ctx context.Context, from, to side, f *copyFlags) error {
	target := to.names[0]
	there, err := to.tree.Stat(ctx, target)
	if err == nil && there.IsDir() {
		target = path.Join(target, path.Base(from.names[0]))
		there, err = to.tree.Stat(ctx, target)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, serr := from.tree.Stat(ctx, from.names[0])
	if serr != nil {
		return serr
	}
	d := delta{from: from.tree, to: to.tree, source: from.names[0], target: target, info: info, mode: there.Mode.Perm()}
	same := there.Size == info.Size && there.ModTime.Unix() == info.ModTime.Unix()
	if err != nil || same || f.dryRun || f.checksum || !d.possible() {
		job := f.job(from.tree, to.tree)
		job.Existing = transfer.KeepSame
		if f.checksum {
			job.Existing = transfer.KeepHash
		}
		job.Pairs = []transfer.Pair{{From: d.source, To: d.target}}
		return a.run(ctx, job, &f.progress)
	}
	return a.observed(&f.progress, false, func(o transfer.Observer) (transfer.Summary, error) {
		item := transfer.Item{From: d.from.Path(d.source), To: d.to.Path(d.target), Info: info}
		o.Found(item)
		stats, err := d.run(ctx)
		o.Moved(item, stats.Matched, true)
		o.Moved(item, stats.Sent, false)
		o.Done(item, err)
		if err != nil {
			return transfer.Summary{Failed: 1}, err
		}
		return transfer.Summary{Files: 1, Bytes: stats.Sent}, nil
	})
}

// delta is one file to make like another.
type delta struct {
	from, to       transfer.Tree
	source, target string
	info           uftp.Info   // of the source
	mode           fs.FileMode // of the target
}

// client is the server side; up says that it is the target that is remote.
func (d delta) client() (c *uftp.Client, up bool) {
	if r, ok := d.to.(transfer.Remote); ok {
		return clientOf(r), true
	}
	r, _ := d.from.(transfer.Remote)
	return clientOf(r), false
}

// possible reports whether one side is here and the other on a server.
func (d delta) possible() bool {
	_, remoteFrom := d.from.(transfer.Remote)
	_, remoteTo := d.to.(transfer.Remote)
	return remoteFrom != remoteTo
}

func (d delta) run(ctx context.Context) (stats uftp.SyncStats, err error) {
	c, up := d.client()
	local := d.target
	if up {
		local = d.source
	}
	file, err := os.Open(local) //nolint:gosec // the user names it
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if up {
		if stats, err = c.SyncToServer(ctx, d.target, file, d.info.Size); err != nil {
			return stats, err
		}
		if mode := d.info.Mode.Perm(); mode != d.mode {
			if err := c.Chmod(ctx, d.target, mode); err != nil {
				return stats, err
			}
		}
		return stats, c.Chtimes(ctx, d.target, d.info.ModTime)
	}
	fi, err := file.Stat()
	if err != nil {
		return stats, err
	}
	part, err := d.to.Create(ctx, d.target, fmt.Sprint(transfer.PartPrefix, "sync-", time.Now().UnixNano()), false)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, part.Close(ctx, false)) }()
	w := &partWriter{ctx: ctx, part: part}
	if stats, err = c.SyncFromServer(ctx, d.source, file, fi.Size(), w); err != nil {
		return stats, err
	}
	return stats, part.Commit(ctx, w.size, uftp.Attr{Mode: d.info.Mode.Perm(), SetMode: true, ModTime: d.info.ModTime})
}

// partWriter writes a part from its beginning to its end.
type partWriter struct {
	ctx  context.Context // of the copy, which this is
	part transfer.Part
	size int64
}

// Write implements io.Writer.
func (w *partWriter) Write(p []byte) (int, error) {
	if err := w.part.WriteAt(w.ctx, p, w.size); err != nil {
		return 0, err
	}
	w.size += int64(len(p))
	return len(p), nil
}
