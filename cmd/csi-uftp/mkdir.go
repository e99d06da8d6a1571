package main

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/uftp"
)

func newMkdir(a *app) *cobra.Command {
	var f remoteFlags
	var parents bool
	cmd := &cobra.Command{
		Use:   "mkdir URL...",
		Short: "Make directories on a UFTP server",
		Long: `Makes directories. With -p, those above them too, and it does not mind if they are
there.`,
		Example: `  csi-uftp mkdir juelich:run1 juelich:run2
  csi-uftp mkdir -p juelich:results/2026/05`,
		Args: minimumArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, arg := range args {
				errs = append(errs, a.mkdir(cmd.Context(), arg, &f, parents))
			}
			return errors.Join(errs...)
		},
	}
	f.add(cmd.Flags(), remoteAttributes)
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "make the directories above too, if need be")
	return cmd
}

// mkdir makes one directory. What is above it may be missing, and a session needs
// a directory that is there: look for one from below.
func (a *app) mkdir(ctx context.Context, arg string, f *remoteFlags, parents bool) error {
	p, err := a.remotePlace(arg)
	if err != nil {
		return err
	}
	full := p.url.Path
	for {
		err := a.withRemotes(ctx, []place{p}, f, use{write: true}, func(ctx context.Context, r *remote) error {
			if !parents {
				return r.Mkdir(ctx, r.names[0])
			}
			base := r.names[0]
			if err := mkdirAll(ctx, r.Client, base); err != nil {
				return err
			}
			return mkdirAll(ctx, r.Client, path.Join(base, relative(p.url.Path, full)))
		})
		up := path.Dir(path.Clean(p.url.Path))
		if !parents || !errors.Is(err, fs.ErrNotExist) || up == "." || up == "/" {
			return err
		}
		p.url.Path = up
	}
}

// relative returns what follows dir in p.
func relative(dir, p string) string {
	return path.Join(components(p)[len(components(dir)):]...)
}

// mkdirAll makes a directory and those above it.
func mkdirAll(ctx context.Context, c *uftp.Client, name string) error {
	if name == "." {
		return nil
	}
	info, err := c.Stat(ctx, name)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return c.Mkdir(ctx, name) // the server says what is wrong
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := mkdirAll(ctx, c, path.Dir(name)); err != nil {
		return err
	}
	return c.Mkdir(ctx, name)
}
