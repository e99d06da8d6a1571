package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// DefaultParallel is how many operations run side by side if a job does not say.
const DefaultParallel = 4

// Job says what to copy where, and how.
type Job struct {
	From, To Tree
	// Pairs are the files and directories to copy, and what they are called then.
	Pairs []Pair

	// Recursive copies directories with what is below them.
	Recursive bool
	// Existing says which files that are there already are left alone.
	Existing Existing
	// Delete removes from target directories what the source's do not have. It
	// needs Recursive, and removes nothing from a directory whose source could
	// not be listed. Links are removed, not what they lead to.
	Delete bool
	// Force is for [Remove]: what is not there is no error.
	Force bool
	// Times and Modes make the copies' times of modification and permission bits
	// those of the sources. Without Modes a file that is replaced keeps its own.
	Times, Modes bool
	// Verify, if not "", compares the hash of each copy with its source's before
	// the copy gets its name. See [NewHash] for algorithms.
	Verify string
	// NoResume begins files anew of which there is a part.
	NoResume bool
	// Range, if not nil, copies only these bytes of files; the copy begins with
	// the first of them. A file that ends before is [fs.ErrInvalid].
	Range *Range
	// InPlace writes the Range into the target at the same offset, which may be
	// there already: it is not copied to another name first, so a failure leaves
	// it partly written.
	InPlace bool
	// Limit, if not 0, is how many bytes per second are moved at most.
	Limit int64
	// DryRun changes nothing. A link to a directory looks like one, so what it
	// leads to is shown as if it were deleted.
	DryRun bool

	// Parallel is how many operations run side by side; 0 is [DefaultParallel].
	// All together use up to 32 MiB of memory, or 1 MiB each if that is more; from
	// one server to another up to 64 MiB, and 4 MiB each while they upload small
	// files. A client shares its sessions among them, and pipelines reads and the
	// pieces of large files: there may be many more than sessions.
	Parallel int
	// Observer hears what happens; nil is nobody.
	Observer Observer
}

// Range is Length bytes at Offset, or fewer if the file ends before.
type Range struct{ Offset, Length int64 }

// Pair is one thing to copy: its name in the one tree and in the other.
type Pair struct{ From, To string }

// Existing says which files are left alone if the target is there already.
type Existing int

// The ways to treat an existing target.
const (
	Replace  Existing = iota // leave none alone
	KeepAny                  // leave all alone
	KeepLate                 // leave those of the same size that are not older than the source
	KeepSame                 // leave those of the same size and time
	KeepHash                 // leave those of the same size and hash
)

// Action is what is done with an item.
type Action int

// The actions.
const (
	Copy Action = iota
	Skip        // it is there already
	MakeDir
	Delete
)

// String is a word for people and programs.
func (a Action) String() string {
	return [...]string{"copy", "skip", "mkdir", "delete"}[a]
}

// Item is one file or directory of a job.
type Item struct {
	Action   Action
	From, To string    // as [Tree.Path] shows them; From is empty where nothing is copied
	Info     uftp.Info // of the source, or of what is deleted
}

// Observer hears of a job's progress. Its methods are called from several
// goroutines and should return soon.
type Observer interface {
	// Found is called when an item is known, before anything is done with it. A
	// file to copy may turn out to be there already: then it is done as a Skip.
	Found(Item)
	// Moved is called when n further bytes of an item are at their target; or
	// were there from an earlier attempt, if old.
	Moved(item Item, n int64, old bool)
	// Done is called when an item is done, or failed for err.
	Done(item Item, err error)
}

// Summary counts what a job did.
type Summary struct {
	Files, Dirs int64 // copied, made
	Bytes       int64 // moved now
	Skipped     int64 // files that were there already
	Deleted     int64
	Failed      int64
}

// Items is the number of files and directories that were looked at.
func (s Summary) Items() int64 { return s.Files + s.Dirs + s.Skipped + s.Deleted + s.Failed }

func (job *Job) check() error {
	switch {
	case job.From == nil || job.To == nil || job.Parallel < 0:
		return fmt.Errorf("%w: incomplete job", fs.ErrInvalid)
	case job.Delete && !job.Recursive:
		return fmt.Errorf("%w: nothing is deleted without recursion", fs.ErrInvalid)
	}
	if job.InPlace && job.Range == nil || job.Limit < 0 {
		return fmt.Errorf("%w: only a range is written in place, at a positive rate", fs.ErrInvalid)
	}
	if r := job.Range; r != nil && (r.Offset < 0 || r.Length <= 0 || job.Recursive || job.Verify != "" || job.Existing >= KeepLate) {
		return fmt.Errorf("%w: a range is for files, without checksums and comparison", fs.ErrInvalid)
	}
	if job.Verify != "" {
		if _, err := NewHash(job.Verify); err != nil {
			return err
		}
	}
	if job.Parallel == 0 {
		job.Parallel = DefaultParallel
	}
	if job.Observer == nil {
		job.Observer = nobody{}
	}
	return nil
}

// Run does a job. If only some items failed, the error is [ErrIncomplete], or
// what was wrong if there was but one file to copy. A lost server or credential,
// or the end of ctx, stops everything.
func Run(ctx context.Context, job Job) (Summary, error) {
	if err := job.check(); err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newRunner(ctx, job, cancel)
	defer r.close()
	var files sync.WaitGroup
	files.Go(func() { r.dispatch(ctx) })
	for _, p := range job.Pairs {
		r.pair(ctx, p)
	}
	r.flush(ctx)
	close(r.queue)
	files.Wait()
	r.tidy(ctx)
	return r.summary(), r.result(ctx)
}

func (r *runner) result(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.sum.Failed == 0:
		return nil
	case r.sum.Items() == 1:
		return r.first
	}
	return fmt.Errorf("%w: %d of %d items failed", ErrIncomplete, r.sum.Failed, r.sum.Items())
}

// nobody is an Observer that does not listen.
type nobody struct{}

func (nobody) Found(Item)              {}
func (nobody) Moved(Item, int64, bool) {}
func (nobody) Done(Item, error)        {}

// reportable reports whether an error is worth telling after the job was stopped.
func reportable(ctx context.Context, err error) bool {
	return ctx.Err() == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
