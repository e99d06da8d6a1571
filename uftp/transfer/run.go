package transfer

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// An operation moves at least minStep bytes, since each costs the server the same
// and a client splits larger ones into ranges of that size; and at most maxStep.
const (
	minStep = 1 << 20
	maxStep = 8 << 20
)

// moveMemory is how much memory the pieces of a job use, or minStep for each if that
// is more.
const moveMemory = 32 << 20

// An upload's operations move pieces of at most uploadStep bytes, which are sent one
// behind another until the server has confirmed them: of what is in memory up to
// uploadMemory, of local files, which are read as they are sent, all that the window
// holds.
const (
	uploadStep   = 4 << 20
	uploadMemory = 2 * moveMemory
)

// lookAhead is how many files may be known and not begun.
const lookAhead = 10_000

// runner is a job being done. Whoever moves bytes holds one of the slots, and
// with it a buffer of step bytes.
type runner struct {
	Job
	step    int64
	slots   *semaphore.Weighted
	spare   *semaphore.Weighted // for further pieces of files whose copying has a slot
	buffers sync.Pool
	queue   chan func()   // files that wait for a slot
	limit   *rate.Limiter // nil is none
	cancel  context.CancelCauseFunc

	puts putter // nil if files are uploaded one by one

	// Of the goroutine that walks:
	from, to *lister
	batch    batch
	dirs     []named // whose attributes are set when their files are there
	deletes  []named

	mu    sync.Mutex
	sum   Summary
	first error
}

// named is something in the target, with its info or that of its source.
type named struct {
	name string
	info uftp.Info
}

func newRunner(ctx context.Context, job Job, cancel context.CancelCauseFunc) *runner {
	r := &runner{
		Job: job, cancel: cancel, slots: semaphore.NewWeighted(int64(job.Parallel)), queue: make(chan func(), lookAhead),
		step: min(maxStep, max(minStep, moveMemory/int64(job.Parallel)&^(minStep-1))),
		from: newLister(ctx, job.From), to: newLister(ctx, job.To),
	}
	spare := int64(0)
	if _, remote := job.To.(Remote); remote {
		r.step = min(uploadStep, r.step)
		if job.Limit == 0 {
			spare = max(0, r.uploadAhead()/r.step-int64(job.Parallel))
		}
	}
	r.spare = semaphore.NewWeighted(spare)
	if job.Limit > 0 {
		r.step = min(r.step, max(1<<12, job.Limit/10))
		r.limit = rate.NewLimiter(rate.Limit(job.Limit), int(r.step))
	}
	r.puts = r.putter()
	r.buffers.New = func() any {
		b := make([]byte, r.step)
		return &b
	}
	return r
}

// close waits for the end of what nobody has waited for.
func (r *runner) close() {
	r.from.close()
	r.to.close()
}

// uploadAhead is how many bytes of a file to upload may be on their way.
func (r *runner) uploadAhead() int64 {
	if _, local := r.From.(Local); local {
		return window
	}
	return uploadMemory
}

// done counts an item and tells the observer.
func (r *runner) done(ctx context.Context, item Item, err error) {
	if err != nil && !reportable(ctx, err) {
		err = context.Cause(ctx)
		r.count(item, err)
		return
	}
	if err != nil {
		err = itemError(item.name(), err)
	}
	r.count(item, err)
	r.Observer.Done(item, err)
	if err != nil && fatal(ctx, err) {
		r.cancel(err)
	}
}

func (item Item) name() string {
	if item.From != "" {
		return item.From
	}
	return item.To
}

func (r *runner) count(item Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.sum.Failed++
		if r.first == nil {
			r.first = err
		}
	case item.Action == Copy:
		r.sum.Files++
	case item.Action == Skip:
		r.sum.Skipped++
	case item.Action == MakeDir:
		r.sum.Dirs++
	case item.Action == Delete:
		r.sum.Deleted++
	}
}

// moved counts bytes and tells the observer.
func (r *runner) moved(item Item, n int64, old bool) {
	if !old {
		r.mu.Lock()
		r.sum.Bytes += n
		r.mu.Unlock()
	}
	r.Observer.Moved(item, n, old)
}

func (r *runner) summary() Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum
}
