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
	if info.IsDir() && r.Recursive {
		r.from.begin(p.From)
		if existing != nil && existing.IsDir() {
			r.to.begin(p.To)
		}
	}
	r.entry(ctx, p, info, existing)
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

// entry copies a file or directory; existing is what has the target's name.
func (r *runner) entry(ctx context.Context, p Pair, info uftp.Info, existing *uftp.Info) {
	item := Item{From: r.From.Path(p.From), To: r.To.Path(p.To), Info: info}
	switch {
	case info.Mode.IsRegular():
		r.file(ctx, p, item, existing)
	case info.IsDir() && !r.Recursive:
		r.done(ctx, item, errIsDir)
	case info.IsDir():
		r.dir(ctx, p, item, existing, nil)
	case info.Mode&fs.ModeSymlink != 0:
		r.done(ctx, item, fmt.Errorf("%w: a symbolic link that leads nowhere, or to a directory it is in", errors.ErrUnsupported))
	default:
		r.done(ctx, item, fmt.Errorf("%w: neither a file nor a directory", errors.ErrUnsupported))
	}
}

// dir copies a directory: its files, and then the directories in it. made, if not nil,
// is how making the target went.
func (r *runner) dir(ctx context.Context, p Pair, item Item, existing *uftp.Info, made *error) {
	item.Action = MakeDir
	sources, err := r.from.take(p.From)
	if err != nil {
		if made != nil && *made == nil {
			r.To.RemoveSome(ctx, []uftp.Removal{{Path: p.To, Dir: true}}) // as if it had not been tried
		}
		r.to.drop(p.To)
		r.done(ctx, item, bare(err))
		return
	}
	targets, err := r.enter(ctx, p.To, item, existing, made)
	if err != nil {
		for _, info := range sources {
			r.from.drop(path.Join(p.From, info.Name))
		}
		r.done(ctx, item, err)
		return
	}
	if r.Times || r.Modes {
		r.dirs = append(r.dirs, named{p.To, item.Info})
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
			if t := targets[info.Name]; t != nil && t.IsDir() {
				r.to.drop(file.To)
			}
			r.entry(ctx, file, info, r.makeWay(ctx, file.To, info, targets[info.Name]))
			delete(targets, info.Name)
		}
	}
	r.subdirs(ctx, p, dirs, targets)
	if !r.Delete {
		return
	}
	for name, info := range targets {
		if !parts[name] {
			r.deletes = append(r.deletes, named{path.Join(p.To, name), *info})
		}
	}
}

// makeWay deletes a directory that has the name of a file, or something else that
// has the name of a directory, if things are deleted at all. It returns what is there.
func (r *runner) makeWay(ctx context.Context, to string, info uftp.Info, existing *uftp.Info) *uftp.Info {
	copied := info.IsDir() || info.Mode.IsRegular()
	if !r.Delete || existing == nil || !copied || info.IsDir() == existing.IsDir() {
		return existing
	}
	if !r.remove(ctx, to, *existing) {
		return existing
	}
	return nil
}

// subdir is a directory to be copied.
type subdir struct {
	pair     Pair
	info     uftp.Info
	existing *uftp.Info
	made     *error // how making the target went, nil if that was not tried
}

// subdirs copies the directories of a directory, and removes them from targets. Those
// that are not there are made together.
func (r *runner) subdirs(ctx context.Context, p Pair, dirs []uftp.Info, targets map[string]*uftp.Info) {
	subs := make([]subdir, len(dirs))
	var missing []*subdir
	var names []string
	for i, info := range dirs {
		d := Pair{path.Join(p.From, info.Name), path.Join(p.To, info.Name)}
		subs[i] = subdir{d, info, r.makeWay(ctx, d.To, info, targets[info.Name]), nil}
		delete(targets, info.Name)
		if subs[i].existing == nil {
			missing, names = append(missing, &subs[i]), append(names, d.To)
		}
	}
	var alone []string
	for name, info := range targets {
		if info.IsDir() {
			alone = append(alone, path.Join(p.To, name))
		}
	}
	r.to.drop(alone...)
	if !r.DryRun && ctx.Err() == nil {
		for i, err := range r.To.MkdirSome(ctx, names) {
			missing[i].made = &err
		}
	}
	for _, d := range subs {
		if ctx.Err() != nil {
			return
		}
		item := Item{From: r.From.Path(d.pair.From), To: r.To.Path(d.pair.To), Info: d.info}
		r.dir(ctx, d.pair, item, d.existing, d.made)
	}
}

// enter makes the target directory unless it is there, and returns what is in it.
func (r *runner) enter(ctx context.Context, to string, item Item, existing *uftp.Info, made *error) (map[string]*uftp.Info, error) {
	switch {
	case existing == nil:
		r.Observer.Found(item)
		var err error
		switch {
		case made != nil:
			err = *made
		case !r.DryRun:
			err = r.To.MkdirSome(ctx, []string{to})[0]
		}
		if err == nil {
			r.done(ctx, item, nil)
		}
		return nil, err
	case !existing.IsDir():
		return nil, fmt.Errorf("%s: %w", item.To, syscall.ENOTDIR)
	}
	infos, err := r.to.take(to)
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
	d := r.newRemover(ctx)
	defer d.dirs.close()
	all := make([]*removal, len(r.deletes))
	for i, x := range r.deletes {
		all[i] = d.of(x.name, x.info, nil)
		d.begin(ctx, all[i])
	}
	d.finish(ctx, all...)
	d.flush(ctx)
	if !r.DryRun {
		r.finishDirs(ctx)
	}
}

// finishDirs gives directories the attributes of their sources.
func (r *runner) finishDirs(ctx context.Context) {
	slices.Reverse(r.dirs)
	names, attrs := make([]string, len(r.dirs)), make([]uftp.Attr, len(r.dirs))
	for i, d := range r.dirs {
		names[i] = d.name
		if r.Modes {
			attrs[i].Mode, attrs[i].SetMode = d.info.Mode.Perm(), true
		}
		if r.Times {
			attrs[i].ModTime = d.info.ModTime
		}
	}
	if ctx.Err() != nil {
		return
	}
	for i, err := range r.To.SetAttrSome(ctx, names, attrs) {
		if d := r.dirs[i]; err != nil && ctx.Err() == nil {
			r.done(ctx, Item{Action: MakeDir, To: r.To.Path(d.name), Info: d.info}, bare(err))
		}
	}
}
