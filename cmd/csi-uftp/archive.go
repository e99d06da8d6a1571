package main

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// cpArchive uploads a directory as one stream, which the server unpacks into a
// new directory. That gets its name when everything is in it.
func (a *app) cpArchive(ctx context.Context, args []string, f *copyFlags) error {
	switch {
	case len(args) != 2 || !f.recursive || f.given("preserve", "checksum"):
		return usageErrorf("--archive uploads one directory, with -r, and knows neither times, permissions nor checksums")
	case f.given("limit", "bytes"):
		return usageErrorf("--archive goes without --limit and --bytes")
	}
	return a.withSides(ctx, args, f, func(ctx context.Context, from, to side) error {
		r, up := to.tree.(transfer.Remote)
		c := clientOf(r)
		if _, here := from.tree.(transfer.Local); !here || !up {
			return usageErrorf("--archive uploads a directory of this machine")
		}
		pairs, err := f.pairs(ctx, from, to, args[1])
		if err != nil {
			return err
		}
		target := pairs[0].To
		if _, err := c.Stat(ctx, target); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, fmt.Errorf("%w: %s; --archive makes a new directory", fs.ErrExist, r.Path(target)))
		}
		if f.dryRun {
			job := f.job(from.tree, to.tree)
			job.Pairs = pairs
			return a.run(ctx, job, &f.progress)
		}
		return a.observed(&f.progress, false, func(o transfer.Observer) (transfer.Summary, error) {
			return putTree(ctx, c, from.names[0], r, target, o)
		})
	})
}

// putTree sends the directory dir.
func putTree(ctx context.Context, c *uftp.Client, dir string, to transfer.Remote, target string, o transfer.Observer) (sum transfer.Summary, err error) {
	part := path.Join(path.Dir(target), transfer.PartPrefix+rand.Text())
	if err := c.Mkdir(ctx, part); err != nil {
		return sum, err
	}
	defer func() {
		if err == nil {
			return
		}
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		_, rerr := transfer.Remove(cleanup, transfer.Job{To: to, Pairs: []transfer.Pair{{To: part}}, Recursive: true})
		err = errors.Join(err, rerr)
	}()
	pr, pw := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { pw.CloseWithError(writeTar(ctx, pw, dir, to.Path(target), &sum, o)) })
	_, err = c.PutArchive(ctx, part, pr)
	pr.CloseWithError(fs.ErrClosed)
	wg.Wait()
	if err == nil {
		err = c.Rename(ctx, part, target)
	}
	return sum, err
}

// writeTar writes what is in dir, and tells of it. The first thing that cannot be
// read ends it: half an archive is none.
func writeTar(ctx context.Context, w io.Writer, dir, target string, sum *transfer.Summary, o transfer.Observer) error {
	tw := tar.NewWriter(w)
	err := transfer.Walk(ctx, transfer.Local{Root: dir}, ".", func(name string, info uftp.Info, err error) error {
		if err != nil {
			return err
		}
		item := transfer.Item{From: filepath.Join(dir, name), To: path.Join(target, name), Info: info}
		if info.IsDir() {
			item.Action = transfer.MakeDir
			sum.Dirs++
		} else {
			sum.Files++
			sum.Bytes += info.Size
		}
		o.Found(item)
		if err := addToTar(tw, name, item); err != nil {
			return fmt.Errorf("%s: %w", item.From, err)
		}
		if !info.IsDir() {
			o.Moved(item, info.Size, false)
		}
		o.Done(item, nil)
		return nil
	})
	return errors.Join(err, tw.Close())
}

func addToTar(tw *tar.Writer, name string, item transfer.Item) error {
	if last, _ := utf8.DecodeLastRuneInString(name); unicode.IsSpace(last) || unicode.IsControl(last) {
		name += "/." // the server strips blanks, and then looks for the shortest name
	}
	h := &tar.Header{Name: name, Size: item.Info.Size, Mode: int64(item.Info.Mode.Perm()), Typeflag: tar.TypeReg}
	h.ModTime = item.Info.ModTime.Truncate(time.Second) // as all other copies have it; tar would round
	if item.Info.IsDir() {
		h.Name, h.Size, h.Typeflag = name+"/", 0, tar.TypeDir
		return tw.WriteHeader(h)
	}
	if !item.Info.Mode.IsRegular() {
		return fmt.Errorf("%w: neither a file nor a directory", errors.ErrUnsupported)
	}
	file, err := os.Open(item.From)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(tw, io.LimitReader(file, h.Size))
	if err == nil && n != h.Size {
		err = transfer.ErrChanged
	}
	return err
}
