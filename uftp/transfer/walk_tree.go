package transfer

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// WalkFunc is called by [Walk]. err is why a directory could not be listed;
// what it returns ends the walk, except fs.SkipDir.
type WalkFunc func(name string, info uftp.Info, err error) error

// Walk calls f for everything below the directory root, not for root itself: a
// directory's entries by name, each directory before what is in it. Parts of
// unfinished copies are left out.
func Walk(ctx context.Context, t Tree, root string, f WalkFunc) error {
	w := &walker{f: f, dirs: newLister(ctx, t)}
	defer w.dirs.close()
	return w.dir(ctx, root, uftp.Info{Name: path.Base(root), Mode: fs.ModeDir})
}

type walker struct {
	f    WalkFunc
	dirs *lister
}

func (w *walker) dir(ctx context.Context, dir string, info uftp.Info) error {
	infos, err := w.dirs.take(dir)
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		return w.f(dir, info, bare(err))
	}
	for _, info := range infos {
		if isPart(info.Name) {
			continue
		}
		name := path.Join(dir, info.Name)
		err := w.f(name, info, nil)
		switch {
		case err == nil && info.IsDir():
			err = w.dir(ctx, name, info)
		case info.IsDir() && errors.Is(err, fs.SkipDir):
			w.dirs.drop(name)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
