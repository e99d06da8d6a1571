package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// pair copies what a pair names.
func (r *runner) pair(ctx context.Context, p Pair) {
	if ctx.Err() != nil {
		return
	}
	item := Item{From: r.From.Path(p.From), To: r.To.Path(p.To)}
	info, err := r.From.Stat(ctx, p.From)
	if err != nil {
		r.done(ctx, item, bare(err))
		return
	}
	r.expect(info)
	var existing *uftp.Info
	there, err := r.To.Stat(ctx, p.To)
	switch {
	case err == nil:
		existing = &there
	case !errors.Is(err, fs.ErrNotExist):
		r.done(ctx, item, err)
		return
	}
	look := r.look(ctx, p, info, existing)
	r.entry(ctx, p, info, existing, look)
}

// expecter is a [Client] that likes to know that it will be busy. See
// [uftp.Client.Expect].
type expecter interface{ Expect(n int64) }

// expect tells clients of a file that is all there is to copy.
func (r *runner) expect(info uftp.Info) {
	if len(r.Pairs) != 1 || !info.Mode.IsRegular() || r.Existing != Replace || r.DryRun || r.Limit != 0 {
		return
	}
	n := info.Size
	if r.Range != nil {
		n = min(n-r.Range.Offset, r.Range.Length)
	}
	for _, t := range []Tree{r.From, r.To} {
		if remote, ok := t.(Remote); ok {
			if c, ok := remote.Client.(expecter); ok {
				c.Expect(n)
			}
		}
	}
}

// look begins to list a directory that will be copied, and the one that it will
// be copied to. It returns nil if that is not needed.
func (r *runner) look(ctx context.Context, p Pair, info uftp.Info, existing *uftp.Info) *lookup {
	if !info.IsDir() || !r.Recursive {
		return nil
	}
	l := &lookup{from: list(ctx, &r.listers, r.From, p.From)}
	if existing != nil && existing.IsDir() {
		l.to = list(ctx, &r.listers, r.To, p.To)
	}
	return l
}

// lookup is what is in a directory and in its target.
type lookup struct {
	from, to *listing // to is nil if there is no target yet
}

// entry copies a file or directory; existing is what has the target's name.
func (r *runner) entry(ctx context.Context, p Pair, info uftp.Info, existing *uftp.Info, look *lookup) {
	item := Item{From: r.From.Path(p.From), To: r.To.Path(p.To), Info: info}
	switch {
	case info.Mode.IsRegular():
		r.file(ctx, p, item, existing)
	case info.IsDir() && !r.Recursive:
		r.done(ctx, item, errIsDir)
	case info.IsDir():
		r.dir(ctx, p, item, existing, look)
	case info.Mode&fs.ModeSymlink != 0:
		r.done(ctx, item, fmt.Errorf("%w: a symbolic link that leads nowhere, or to a directory it is in", errors.ErrUnsupported))
	default:
		r.done(ctx, item, fmt.Errorf("%w: neither a file nor a directory", errors.ErrUnsupported))
	}
}

// dir copies a directory: its files, and then the directories in it.
func (r *runner) dir(ctx context.Context, p Pair, item Item, existing *uftp.Info, look *lookup) {
	item.Action = MakeDir
	sources, err := look.from.wait()
	if err != nil {
		r.done(ctx, item, bare(err))
		return
	}
	targets, err := r.enter(ctx, p.To, item, existing, look.to)
	if err != nil {
		r.done(ctx, item, err)
		return
	}
	if r.Times || r.Modes {
		r.dirs = append(r.dirs, made{p.To, item.Info})
	}
	var dirs []uftp.Info
	parts := make(map[string]bool) // of this version
	for _, info := range sources {
		switch {
		case ctx.Err() != nil:
			return
		case isPart(info.Name):
		case info.IsDir():
			dirs = append(dirs, info)
		default:
			file := Pair{path.Join(p.From, info.Name), path.Join(p.To, info.Name)}
			parts[r.partName(file, info)] = true
			r.entry(ctx, file, info, r.makeWay(ctx, file.To, info, targets[info.Name]), nil)
			delete(targets, info.Name)
		}
	}
	r.subdirs(ctx, p, dirs, targets)
	if !r.Delete {
		return
	}
	for name, info := range targets {
		if !parts[name] {
			r.deletes = append(r.deletes, doomed{path.Join(p.To, name), *info})
		}
	}
}

// makeWay deletes a directory that has the name of a file, or something else that
// has the name of a directory, if things are deleted at all. It returns what is there.
func (r *runner) makeWay(ctx context.Context, to string, info uftp.Info, existing *uftp.Info) *uftp.Info {
	copied := info.IsDir() || info.Mode.IsRegular()
	if !r.Delete || existing == nil || !copied || info.IsDir() == existing.IsDir() || !r.remove(ctx, to, *existing) {
		return existing
	}
	return nil
}

// subdirs copies the directories of a directory, and removes them from targets.
func (r *runner) subdirs(ctx context.Context, p Pair, dirs []uftp.Info, targets map[string]*uftp.Info) {
	var looks []*lookup
	for i, info := range dirs {
		for k := i + len(looks); k < len(dirs) && len(looks) < ahead; k++ {
			d := dirs[k]
			looks = append(looks, r.look(ctx, Pair{path.Join(p.From, d.Name), path.Join(p.To, d.Name)}, d, targets[d.Name]))
		}
		if ctx.Err() != nil {
			return
		}
		dir := Pair{path.Join(p.From, info.Name), path.Join(p.To, info.Name)}
		r.entry(ctx, dir, info, r.makeWay(ctx, dir.To, info, targets[info.Name]), looks[0])
		looks = looks[1:]
		delete(targets, info.Name)
	}
}

// enter makes the target directory unless it is there, and returns what is in it.
func (r *runner) enter(ctx context.Context, to string, item Item, existing *uftp.Info, look *listing) (map[string]*uftp.Info, error) {
	switch {
	case existing == nil:
		r.Observer.Found(item)
		if !r.DryRun {
			if err := r.To.Mkdir(ctx, to); err != nil {
				return nil, err
			}
		}
		r.done(ctx, item, nil)
		return nil, nil
	case !existing.IsDir():
		return nil, fmt.Errorf("%s: %w", item.To, syscall.ENOTDIR)
	}
	infos, err := look.wait()
	if err != nil {
		return nil, bare(err)
	}
	targets := make(map[string]*uftp.Info, len(infos))
	for i := range infos {
		targets[infos[i].Name] = &infos[i]
	}
	return targets, nil
}

// tidy does what has to wait for all files: it deletes, and gives directories
// their attributes, those in others first.
func (r *runner) tidy(ctx context.Context) {
	for _, d := range r.deletes {
		if ctx.Err() != nil {
			return
		}
		r.remove(ctx, d.name, d.info)
	}
	if r.DryRun {
		return
	}
	for _, d := range slices.Backward(r.dirs) {
		if ctx.Err() != nil {
			return
		}
		if err := r.finishDir(ctx, d); err != nil {
			r.done(ctx, Item{Action: MakeDir, To: r.To.Path(d.name), Info: d.info}, bare(err))
		}
	}
}

func (r *runner) finishDir(ctx context.Context, d made) error {
	if r.Modes {
		if err := r.To.Chmod(ctx, d.name, d.info.Mode.Perm()); err != nil {
			return err
		}
	}
	if r.Times {
		return r.To.Chtimes(ctx, d.name, d.info.ModTime)
	}
	return nil
}
