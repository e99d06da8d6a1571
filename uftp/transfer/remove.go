package transfer

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// remove deletes a file, or a directory with all that is in it. Where something
// cannot be deleted, the directories above it stay too, without further words.
//
// A link to a directory looks like one, and must not be entered: so everything is
// first removed as a file, and only what turns out to be a directory is one. A dry
// run cannot tell.
func (r *runner) remove(ctx context.Context, name string, info uftp.Info) bool {
	item := Item{Action: Delete, To: r.To.Path(name), Info: info}
	if !info.IsDir() {
		return r.removeOne(ctx, item, name, r.To.Remove)
	}
	if !r.DryRun {
		if err := r.To.Remove(ctx, name); !errors.Is(err, syscall.EISDIR) {
			return r.removeOne(ctx, item, name, func(context.Context, string) error { return err })
		}
	}
	infos, err := r.To.List(ctx, name)
	if err != nil {
		r.done(ctx, item, bare(err))
		return false
	}
	slices.SortFunc(infos, func(a, b uftp.Info) int { return cmp.Compare(a.Name, b.Name) })
	empty := true
	for _, info := range infos {
		if ctx.Err() != nil {
			return false
		}
		empty = r.remove(ctx, path.Join(name, info.Name), info) && empty
	}
	return empty && r.removeOne(ctx, item, name, r.To.Rmdir)
}

func (r *runner) removeOne(ctx context.Context, item Item, name string, remove func(context.Context, string) error) bool {
	r.Observer.Found(item)
	var err error
	if !r.DryRun {
		err = remove(ctx, name)
	}
	r.done(ctx, item, bare(err))
	return err == nil
}

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
	r := newRunner(job, cancel)
	for _, p := range job.Pairs {
		if ctx.Err() != nil {
			break
		}
		item := Item{Action: Delete, To: r.To.Path(p.To)}
		info, err := r.To.Stat(ctx, p.To)
		if err == nil && info.IsDir() && !job.Recursive {
			err = errIsDir
		}
		if err != nil {
			r.done(ctx, item, bare(err))
			continue
		}
		r.remove(ctx, p.To, info)
	}
	return r.summary(), r.result(ctx)
}
