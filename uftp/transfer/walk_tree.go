package transfer

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// WalkFunc is called by [Walk]. err is why a directory could not be listed;
// what it returns ends the walk, except fs.SkipDir.
type WalkFunc func(name string, info uftp.Info, err error) error

// Walk calls f for everything below the directory root, not for root itself: a
// directory's entries by name, each directory before what is in it. Parts of
// unfinished copies are left out.
func Walk(ctx context.Context, t Tree, root string, f WalkFunc) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	w := &walker{t: t, f: f, wg: &wg}
	return w.dir(ctx, root, uftp.Info{Name: path.Base(root), Mode: fs.ModeDir}, list(ctx, &wg, t, root))
}

type walker struct {
	t  Tree
	f  WalkFunc
	wg *sync.WaitGroup
}

func (w *walker) dir(ctx context.Context, dir string, info uftp.Info, l *listing) error {
	infos, err := l.wait()
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		return w.f(dir, info, bare(err))
	}
	var begun []*listing // of the next directories
	next := 0
	for i, info := range infos {
		if isPart(info.Name) {
			continue
		}
		name := path.Join(dir, info.Name)
		if !info.IsDir() {
			if err := w.f(name, info, nil); err != nil {
				return err
			}
			continue
		}
		for next = max(next, i); next < len(infos) && len(begun) < ahead; next++ {
			if infos[next].IsDir() && !isPart(infos[next].Name) {
				begun = append(begun, list(ctx, w.wg, w.t, path.Join(dir, infos[next].Name)))
			}
		}
		l := begun[0]
		begun = begun[1:]
		err := w.f(name, info, nil)
		if errors.Is(err, fs.SkipDir) {
			continue
		}
		if err == nil {
			err = w.dir(ctx, name, info, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
