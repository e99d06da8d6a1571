package transfer

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// removeBatch is how many removals go out together.
const removeBatch = 256

// remover deletes things of a tree, in the order in which it is told, many at a time.
// Where something cannot be deleted, the directories above it stay too, without
// further words.
//
// A link to a directory looks like one, and must not be entered: so everything is
// first removed as a file, and only what turns out to be a directory is one. A dry run
// cannot tell.
type remover struct {
	r     *runner
	dirs  *lister
	batch []*removal
}

// removal is something to be deleted.
type removal struct {
	uftp.Removal
	item Item
	up   *removal // the directory that it is in, if that is to be deleted too
	left bool     // it is still there, or something in it
	err  error
}

func (r *runner) newRemover(ctx context.Context) *remover {
	return &remover{r: r, dirs: newLister(ctx, r.To)}
}

// remove deletes a file, or a directory with all that is in it, and reports whether it
// is gone.
func (r *runner) remove(ctx context.Context, name string, info uftp.Info) bool {
	d := r.newRemover(ctx)
	defer d.dirs.close()
	x := d.of(name, info, nil)
	d.begin(ctx, x)
	d.finish(ctx, x)
	d.flush(ctx)
	return !x.left && ctx.Err() == nil
}

func (d *remover) of(name string, info uftp.Info, up *removal) *removal {
	return &removal{uftp.Removal{Path: name}, Item{Action: Delete, To: d.r.To.Path(name), Info: info}, up, false, nil}
}

// begin deletes a file, or a link, and asks whether what looks like a directory is one.
func (d *remover) begin(ctx context.Context, x *removal) {
	if !x.item.Info.IsDir() || !d.r.DryRun {
		d.add(ctx, x)
	}
}

// finish deletes directories that were begun with, all in one directory or in none that
// is to be deleted.
func (d *remover) finish(ctx context.Context, dirs ...*removal) {
	if len(dirs) == 0 {
		return
	}
	d.flush(ctx) // which of them are links?
	var links []string
	for _, x := range dirs {
		if x.item.Info.IsDir() && !d.r.DryRun && !errors.Is(x.err, syscall.EISDIR) {
			links = append(links, x.Path)
		}
	}
	d.dirs.drop(links...)
	for _, x := range dirs {
		if ctx.Err() == nil && x.item.Info.IsDir() && (d.r.DryRun || errors.Is(x.err, syscall.EISDIR)) {
			d.removeDir(ctx, x)
		}
		if x.up == nil {
			d.flush(ctx) // the next one may have it in it
		}
	}
}

func (d *remover) removeDir(ctx context.Context, x *removal) {
	x.Dir, x.left, x.err = true, false, nil
	infos, err := d.dirs.take(x.Path)
	if err != nil {
		d.fail(ctx, x, err)
		return
	}
	var dirs []*removal
	for _, info := range infos {
		one := d.of(path.Join(x.Path, info.Name), info, x)
		if d.begin(ctx, one); info.IsDir() {
			dirs = append(dirs, one)
		}
	}
	d.finish(ctx, dirs...)
	if !x.left {
		d.add(ctx, x)
	}
}

// add deletes something when there is more.
func (d *remover) add(ctx context.Context, x *removal) {
	if d.batch = append(d.batch, x); len(d.batch) >= removeBatch {
		d.flush(ctx)
	}
}

// flush deletes what was added.
func (d *remover) flush(ctx context.Context) {
	batch := d.batch
	d.batch = nil
	if len(batch) == 0 || ctx.Err() != nil {
		return
	}
	what := make([]uftp.Removal, len(batch))
	for i, x := range batch {
		what[i] = x.Removal
	}
	errs := make([]error, len(batch))
	if !d.r.DryRun {
		errs = d.r.To.RemoveSome(ctx, what)
	}
	for i, x := range batch {
		switch x.err = errs[i]; {
		case x.Dir && x.left: // what is in it was said
		case !x.Dir && x.item.Info.IsDir() && errors.Is(x.err, syscall.EISDIR): // later
		case x.err != nil && ctx.Err() != nil:
			x.left = true
		case x.err != nil:
			d.fail(ctx, x, x.err)
		default:
			d.r.Observer.Found(x.item)
			d.r.done(ctx, x.item, nil)
		}
	}
}

// fail notes that something is still there, and so what it is in.
func (d *remover) fail(ctx context.Context, x *removal, err error) {
	if d.r.Force && errors.Is(err, fs.ErrNotExist) {
		return
	}
	d.r.Observer.Found(x.item)
	d.r.done(ctx, x.item, bare(err))
	for ; x != nil; x = x.up {
		x.left = true
	}
}

// manyStats is how many questions are asked at a time; a client puts many in a packet.
const manyStats = 64

// Remove deletes the names of job.Pairs' To from job.To; directories, with all
// that is in them, if the job is Recursive. Links are deleted, not what they lead
// to. Errors are as from [Run].
func Remove(ctx context.Context, job Job) (Summary, error) {
	if job.From == nil {
		job.From = job.To
	}
	if err := job.check(); err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newRunner(ctx, job, cancel)
	defer r.close()
	infos, errs := make([]uftp.Info, len(job.Pairs)), make([]error, len(job.Pairs))
	var asking errgroup.Group
	asking.SetLimit(manyStats)
	for i, p := range job.Pairs {
		asking.Go(func() error {
			infos[i], errs[i] = r.To.Stat(ctx, p.To)
			return nil
		})
	}
	_ = asking.Wait()
	d := r.newRemover(ctx)
	defer d.dirs.close()
	var all []*removal
	for i, p := range job.Pairs {
		if job.Force && errors.Is(errs[i], fs.ErrNotExist) {
			continue
		}
		x := d.of(p.To, infos[i], nil)
		if errs[i] == nil && infos[i].IsDir() && !job.Recursive {
			errs[i] = errIsDir
		}
		if errs[i] != nil {
			r.done(ctx, x.item, bare(errs[i]))
			continue
		}
		d.begin(ctx, x)
		all = append(all, x)
	}
	d.finish(ctx, all...)
	d.flush(ctx)
	return r.summary(), r.result(ctx)
}
