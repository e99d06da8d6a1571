package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

// cpShare copies from or to the https:// URL of a share, through the auth server.
func (a *app) cpShare(ctx context.Context, args []string, f *copyFlags, span *transfer.Range) error {
	switch {
	case len(args) != 2 || uftp.IsShareHTTPURL(args[0]) && strings.Contains(args[1], "://") || strings.Contains(args[0], "://") && uftp.IsShareHTTPURL(args[1]):
		return usageErrorf("the https:// URL of a share goes with one file here")
	case f.noClobber || f.dryRun, f.given("archive", "in-place", "checksum", "resume", "preserve", "limit"):
		return usageErrorf("over https:// a share's file is only copied; for more use the uftp:// URL of the share")
	}
	if uftp.IsShareHTTPURL(args[0]) {
		r, err := a.shareRequest(args[0], f)
		if err != nil {
			return err
		}
		return a.getShare(ctx, r, args[1], f, span)
	}
	if span != nil {
		return usageErrorf("--bytes is for files that are read from a server")
	}
	r, err := a.shareRequest(args[1], f)
	if err != nil {
		return err
	}
	return a.putShare(ctx, args[0], r, f)
}

// shareRequest says who asks for a share. Without a credential that is nobody.
func (a *app) shareRequest(raw string, f *copyFlags) (uftp.AuthRequest, error) {
	before, below, _ := strings.Cut(raw, "/rest/access/")
	name, _, _ := strings.Cut(below, "/")
	server := place{remote: true, url: uftpfs.URL{AuthURL: before + "/rest/access/" + name}}
	t, err := a.resolvePlace(server, &f.remoteFlags)
	if errors.Is(err, errNoCredential) {
		t.access.Credential, err = uftp.Anonymous{}, nil
	}
	r := authRequest(t)
	r.AuthURL = raw
	return r, err
}

func (a *app) getShare(ctx context.Context, r uftp.AuthRequest, target string, f *copyFlags, span *transfer.Range) (err error) {
	off, n := int64(0), int64(-1)
	if span != nil {
		off, n = span.Offset, span.Length
	}
	file, err := uftp.GetShared(ctx, r, off, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if target == stdio {
		_, err := io.Copy(a.stdout, file)
		return err
	}
	if fi, err := os.Stat(target); err == nil && fi.IsDir() {
		if file.Name == "" {
			return usageErrorf("the server does not say what the file is called: name the target")
		}
		target = filepath.Join(target, file.Name)
	}
	item := transfer.Item{From: r.AuthURL, To: target, Info: uftp.Info{Name: path.Base(target), Size: max(0, file.Size-off)}}
	return a.copyOneItem(f, item, func(progress io.Writer) (int64, error) {
		return saveFile(target, io.TeeReader(file, progress))
	})
}

// saveFile writes a stream to a file, which gets its name when it is whole.
func saveFile(target string, from io.Reader) (n int64, err error) {
	if fi, err := os.Stat(target); err == nil && !fi.Mode().IsRegular() { // a device or a pipe
		out, err := os.OpenFile(target, os.O_WRONLY, 0) //nolint:gosec // the user names it
		if err != nil {
			return 0, err
		}
		n, err = io.Copy(out, from)
		return n, errors.Join(err, out.Close())
	}
	part := filepath.Join(filepath.Dir(target), transfer.PartPrefix+rand.Text())
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // the umask decides
	if err != nil {
		return 0, err
	}
	n, err = io.CopyBuffer(struct{ io.Writer }{out}, from, make([]byte, 1<<20))
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(part, target)
	}
	if err != nil {
		return n, errors.Join(err, os.Remove(part))
	}
	return n, nil
}

func (a *app) putShare(ctx context.Context, source string, r uftp.AuthRequest, f *copyFlags) error {
	item := transfer.Item{From: source, To: r.AuthURL}
	in, size := a.stdin, int64(-1)
	if source != stdio {
		file, err := os.Open(source) //nolint:gosec // the user names it
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		fi, err := file.Stat()
		switch {
		case err != nil:
			return err
		case fi.IsDir():
			return fmt.Errorf("%w: %s is a directory", fs.ErrInvalid, source)
		case fi.Mode().IsRegular():
			size = fi.Size()
		}
		if in = file; strings.HasSuffix(r.AuthURL, "/") {
			r.AuthURL += url.PathEscape(fi.Name())
			item.To = r.AuthURL
		}
	}
	item.Info = uftp.Info{Name: source, Size: max(0, size)}
	return a.copyOneItem(f, item, func(progress io.Writer) (int64, error) {
		counted := &countReader{from: in, to: progress}
		err := uftp.PutShared(ctx, r, counted, size)
		return counted.n, err
	})
}

// copyOneItem reports on one copy.
func (a *app) copyOneItem(f *copyFlags, item transfer.Item, copyTo func(progress io.Writer) (int64, error)) error {
	return a.observed(&f.progress, false, func(o transfer.Observer) (sum transfer.Summary, err error) {
		o.Found(item)
		sum.Bytes, err = copyTo(movedWriter{o, item})
		sum.Files = 1
		if err != nil {
			sum.Files, sum.Failed = 0, 1
		}
		o.Done(item, err)
		return sum, err
	})
}

// movedWriter tells an observer of an item's bytes.
type movedWriter struct {
	o    transfer.Observer
	item transfer.Item
}

func (w movedWriter) Write(p []byte) (int, error) {
	w.o.Moved(w.item, int64(len(p)), false)
	return len(p), nil
}

// countReader tells of what is read.
type countReader struct {
	from io.Reader
	to   io.Writer
	n    int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	_, _ = c.to.Write(p[:n]) // a movedWriter, which cannot fail
	return n, err
}
