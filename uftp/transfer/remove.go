package transfer

import (
	"cmp"
	"context"
	"path"
	"slices"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// remove deletes a file, or a directory with all that is in it. Where something
// cannot be deleted, the directories above it stay too, without further words.
func (r *runner) remove(ctx context.Context, name string, info uftp.Info) bool {
	item := Item{Action: Delete, To: r.To.Path(name), Info: info}
	if !info.IsDir() {
		return r.removeOne(ctx, item, name)
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
	return empty && r.removeOne(ctx, item, name)
}

func (r *runner) removeOne(ctx context.Context, item Item, name string) bool {
	r.Observer.Found(item)
	var err error
	switch {
	case r.DryRun:
	case item.Info.IsDir():
		err = r.To.Rmdir(ctx, name)
	default:
		err = r.To.Remove(ctx, name)
	}
	r.done(ctx, item, bare(err))
	return err == nil
}

// Remove deletes the names of job.Pairs' To from job.To; directories, with all
// that is in them, if the job is Recursive. Errors are as from [Run].
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
