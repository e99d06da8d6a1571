package transfer

import (
	"cmp"
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
	var existing *uftp.Info
	there, err := r.To.Stat(ctx, p.To)
	switch {
	case err == nil:
		existing = &there
	case !errors.Is(err, fs.ErrNotExist):
		r.done(ctx, item, err)
		return
	}
	r.entry(ctx, p, info, existing)
}

// entry copies a file or directory; existing is what has the target's name.
func (r *runner) entry(ctx context.Context, p Pair, info uftp.Info, existing *uftp.Info) {
	item := Item{From: r.From.Path(p.From), To: r.To.Path(p.To), Info: info}
	switch {
	case info.Mode.IsRegular():
		r.file(ctx, p, item, existing)
	case info.IsDir() && !r.Recursive:
		r.done(ctx, item, errIsDir)
	case info.IsDir():
		r.dir(ctx, p, item, existing)
	case info.Mode&fs.ModeSymlink != 0:
		r.done(ctx, item, fmt.Errorf("%w: a symbolic link that leads nowhere, or to a directory it is in", errors.ErrUnsupported))
	default:
		r.done(ctx, item, fmt.Errorf("%w: neither a file nor a directory", errors.ErrUnsupported))
	}
}

// dir copies a directory: its files, and then the directories in it.
func (r *runner) dir(ctx context.Context, p Pair, item Item, existing *uftp.Info) {
	item.Action = MakeDir
	sources, err := r.From.List(ctx, p.From)
	if err != nil {
		r.done(ctx, item, bare(err))
		return
	}
	targets, err := r.enter(ctx, p.To, item, existing)
	if err != nil {
		r.done(ctx, item, err)
		return
	}
	if r.Times || r.Modes {
		r.dirs = append(r.dirs, made{p.To, item.Info})
	}
	slices.SortFunc(sources, func(a, b uftp.Info) int { return cmp.Compare(a.Name, b.Name) })
	parts := make(map[string]bool) // of this version
	for _, wantDirs := range []bool{false, true} {
		for _, info := range sources {
			if ctx.Err() != nil {
				return
			}
			if isPart(info.Name) || info.IsDir() != wantDirs {
				continue
			}
			parts[partName(info.Name, info)] = true
			var there *uftp.Info
			if t, ok := targets[info.Name]; ok {
				there = &t
				delete(targets, info.Name)
			}
			r.entry(ctx, Pair{path.Join(p.From, info.Name), path.Join(p.To, info.Name)}, info, there)
		}
	}
	if r.Delete {
		for name, info := range targets {
			if !parts[name] {
				r.deletes = append(r.deletes, doomed{path.Join(p.To, name), info})
			}
		}
	}
}

// enter makes the target directory unless it is there, and returns what is in it.
func (r *runner) enter(ctx context.Context, to string, item Item, existing *uftp.Info) (map[string]uftp.Info, error) {
	switch {
	case existing == nil:
		r.Observer.Found(item)
		if !r.DryRun {
			if err := r.To.Mkdir(ctx, to); err != nil {
				return nil, bare(err)
			}
		}
		r.done(ctx, item, nil)
		return nil, nil
	case !existing.IsDir():
		return nil, fmt.Errorf("%s: %w", item.To, syscall.ENOTDIR)
	}
	infos, err := r.To.List(ctx, to)
	if err != nil {
		return nil, bare(err)
	}
	targets := make(map[string]uftp.Info, len(infos))
	for _, info := range infos {
		targets[info.Name] = info
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
