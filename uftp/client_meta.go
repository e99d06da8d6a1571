package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jlaffaye/ftp"
)

// opMkdir is the Op of errors of making directories.
const opMkdir = "mkdir"

// Mkdir makes a directory. Its parent must exist.
func (c *Client) Mkdir(ctx context.Context, path string) error {
	return c.MkdirSome(ctx, []string{path})[0]
}

// NewDir makes a directory, whose parent must exist, and returns what it is then. One
// round trip.
func (c *Client) NewDir(ctx context.Context, path string) (info Info, err error) {
	p, err := namedPath(path)
	if err != nil {
		return Info{}, wrapError(opMkdir, path, err)
	}
	op := operation{name: opMkdir, path: path, writes: true, settled: func(s *session) (bool, error) {
		info, err = c.stat(s, p)
		return absent(err, err == nil && info.IsDir(), false)
	}}
	err = c.do(ctx, op, func(s *session) error {
		r, err := s.exchange(append([]string{"MKD " + wirePath(p)}, statCommands(p)...)...)
		if err != nil {
			return err
		}
		info, err = c.learn(s, p, r[1], r[2])
		if refused := r[0].want(2); refused != nil {
			err = refused
		}
		return err
	})
	return info, err
}

// Rmdir removes an empty directory.
func (c *Client) Rmdir(ctx context.Context, path string) error {
	return c.change(ctx, "rmdir", path, goneSettles, func(l *ftp.ServerConn, w string) error { return l.RemoveDir(w) })
}

// Remove removes a file.
func (c *Client) Remove(ctx context.Context, path string) error {
	return c.change(ctx, "remove", path, goneSettles, func(l *ftp.ServerConn, w string) error { return l.Delete(w) })
}

// goneSettles is an operation that is done when the path is gone.
func goneSettles(p string) operation {
	return operation{settled: func(s *session) (bool, error) {
		_, err := s.stat(p)
		return absent(err, false, true)
	}}
}

// absent turns the error of a stat into the answer whether an operation is done.
func absent(err error, there, gone bool) (bool, error) {
	switch {
	case err == nil:
		return there, nil
	case errors.Is(err, fs.ErrNotExist):
		return gone, nil
	default:
		return false, err
	}
}

// change runs a command of the library that takes one path.
func (c *Client) change(ctx context.Context, name, path string, op func(p string) operation, call func(*ftp.ServerConn, string) error) error {
	p, err := namedPath(path)
	if err != nil {
		return wrapError(name, path, err)
	}
	o := op(p)
	o.name, o.path, o.writes = name, path, true
	return c.do(ctx, o, func(s *session) error {
		return s.library(func(l *ftp.ServerConn) error { return call(l, wirePath(p)) })
	})
}

// namedPath is cleanPath for operations that need a name to work on.
func namedPath(path string) (string, error) {
	p, err := cleanPath(path)
	if err == nil && p == "." {
		err = fmt.Errorf("%w: the base directory itself", fs.ErrInvalid)
	}
	return p, err
}

// Rename gives a file or directory another name, replacing a file or an empty
// directory that has it.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	f, err := namedPath(from)
	if err != nil {
		return wrapError("rename", from, err)
	}
	t, err := namedPath(to)
	if err != nil {
		return wrapError("rename", to, err)
	}
	op := operation{name: "rename", path: from, writes: true, fills: f, settled: func(s *session) (bool, error) {
		if _, err := s.stat(f); !errors.Is(err, fs.ErrNotExist) {
			return absent(err, false, false)
		}
		_, err := s.stat(t)
		return absent(err, true, false)
	}}
	return c.do(ctx, op, func(s *session) error { return s.rename(f, t) })
}
