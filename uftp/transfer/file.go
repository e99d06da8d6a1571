package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// file puts a file into the queue. Copying it begins when there is a slot.
func (r *runner) file(ctx context.Context, p Pair, item Item, existing *uftp.Info) {
	r.Observer.Found(item)
	if r.join(ctx, p, item, existing) {
		return
	}
	select {
	case r.queue <- func() { r.one(ctx, p, item, existing) }:
	case <-ctx.Done():
	}
}

// dispatch starts what is in the queue until it is closed.
func (r *runner) dispatch(ctx context.Context) {
	var files sync.WaitGroup
	for work := range r.queue {
		if err := r.slots.Acquire(ctx, 1); err != nil {
			continue // stopped
		}
		files.Go(func() {
			defer r.slots.Release(1)
			work()
		})
	}
	files.Wait()
}

// one does what there is to do for one file.
func (r *runner) one(ctx context.Context, p Pair, item Item, existing *uftp.Info) {
	keep, err := r.keeps(ctx, p, item.Info, existing)
	if keep {
		item.Action = Skip
	}
	switch {
	case err != nil || r.DryRun:
	case keep:
		err = r.adjust(ctx, p.To, item.Info, *existing)
	default:
		err = r.copy(ctx, p, item, existing)
	}
	r.done(ctx, item, err)
}

// keeps reports whether the target is left alone.
func (r *runner) keeps(ctx context.Context, p Pair, info uftp.Info, existing *uftp.Info) (bool, error) {
	switch {
	case existing == nil:
		return false, nil
	case existing.IsDir():
		return false, fmt.Errorf("%s: %w", r.To.Path(p.To), syscall.EISDIR)
	case r.Existing == KeepAny:
		return true, nil
	case r.Existing == Replace || existing.Size != info.Size:
		return false, nil
	case r.Existing == KeepLate:
		return existing.ModTime.Unix() >= info.ModTime.Unix(), nil
	case r.Existing == KeepSame:
		return existing.ModTime.Unix() == info.ModTime.Unix(), nil
	}
	algo := r.algorithm()
	have, err := r.To.Hash(ctx, p.To, algo)
	if err != nil {
		return false, err
	}
	want, err := r.From.Hash(ctx, p.From, algo)
	return have == want, err
}

// adjust gives a file that is left alone the attributes of its source.
func (r *runner) adjust(ctx context.Context, to string, info, existing uftp.Info) error {
	if r.Existing != KeepSame && r.Existing != KeepHash {
		return nil
	}
	var a uftp.Attr
	if r.Modes && existing.Mode.Perm() != info.Mode.Perm() {
		a.Mode, a.SetMode = info.Mode.Perm(), true
	}
	if r.Times && existing.ModTime.Unix() != info.ModTime.Unix() {
		a.ModTime = info.ModTime
	}
	if a == (uftp.Attr{}) {
		return nil
	}
	return bare(r.To.SetAttrSome(ctx, []string{to}, []uftp.Attr{a})[0])
}

// copy copies one file. It holds a slot, and takes more if there are any.
func (r *runner) copy(ctx context.Context, p Pair, item Item, existing *uftp.Info) (err error) {
	src, err := r.From.Open(ctx, p.From, item.Info)
	if err != nil {
		return err
	}
	if src, err = r.clip(src, &item.Info); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	part, start, err := r.begin(ctx, p, item.Info)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, part.Close(ctx, err != nil && r.resumable(item.Info) && fatal(ctx, err)))
	}()
	if start > 0 {
		r.moved(item, start, true)
	}
	if err := r.move(ctx, src, part, item, start); err != nil {
		return err
	}
	if err := src.Check(ctx); err != nil {
		return err
	}
	if r.Verify != "" {
		if err := r.verify(ctx, p, part); err != nil {
			return err
		}
	}
	return part.Commit(ctx, item.Info.Size, r.attributes(item.Info, existing))
}

// resumable reports whether a part of a file is worth keeping.
func (r *runner) resumable(info uftp.Info) bool { return !r.NoResume && info.Size > window }

// begin opens the part, and returns how much of it is there already.
func (r *runner) begin(ctx context.Context, p Pair, info uftp.Info) (Part, int64, error) {
	if r.InPlace {
		return r.update(ctx, p.To)
	}
	name := r.partName(p, info)
	if r.Range != nil {
		name = fmt.Sprint(name, "-", r.Range.Offset)
	}
	part, err := r.To.Create(ctx, p.To, name, r.resumable(info))
	if err != nil || part.Size() <= info.Size {
		if err != nil {
			return nil, 0, err
		}
		return part, trusted(part.Size()), nil
	}
	// Not ours, or ours and damaged.
	if err := part.Close(ctx, false); err != nil {
		return nil, 0, err
	}
	part, err = r.To.Create(ctx, p.To, name, false)
	return part, 0, err
}

// move copies the bytes from start on.
func (r *runner) move(ctx context.Context, src Source, part Part, item Item, start int64) error {
	if item.Info.Size == 0 {
		return part.WriteAt(ctx, nil, 0)
	}
	w := &worker{runner: r, pieces: newRanges(start, item.Info.Size, r.step), src: src, part: part, item: item}
	if _, local := r.From.(Local); local {
		w.taker, _ = part.(taker)
	}
	w.work(ctx)
	w.helpers.Wait()
	_, err := w.pieces.result()
	return err
}

// worker copies the pieces of one file.
type worker struct {
	*runner
	pieces  *ranges
	src     Source
	part    Part
	taker   taker // the part, if bytes need not be in memory before they are sent
	item    Item
	helpers sync.WaitGroup
}

// work copies pieces until there are no more, and gets help if there are slots.
// Files that wait for a slot come first: nobody can help while one does.
func (w *worker) work(ctx context.Context) {
	var buf []byte
	if w.taker == nil {
		b := w.buffers.Get().(*[]byte)
		defer w.buffers.Put(b)
		buf = *b
	}
	for {
		off, n, err := w.pieces.take(ctx)
		if err != nil || n == 0 {
			return
		}
		if w.pieces.more() {
			w.getHelp(ctx)
		}
		if err := w.piece(ctx, buf, off, n); err != nil {
			w.pieces.fail(err)
			return
		}
		w.pieces.finish(off)
		w.moved(w.item, n, false)
	}
}

func (w *worker) getHelp(ctx context.Context) {
	for _, slots := range []*semaphore.Weighted{w.slots, w.spare} {
		if slots.TryAcquire(1) {
			w.helpers.Go(func() {
				defer slots.Release(1)
				w.work(ctx)
			})
			return
		}
	}
}

// piece copies n bytes, by way of buf unless there is a taker.
func (w *worker) piece(ctx context.Context, buf []byte, off, n int64) error {
	if w.limit != nil {
		if err := w.limit.WaitN(ctx, int(n)); err != nil {
			return err
		}
	}
	if w.taker != nil {
		return w.give(ctx, off, n)
	}
	if err := w.src.ReadAt(ctx, buf[:n], off); err != nil {
		return err
	}
	return w.part.WriteAt(ctx, buf[:n], off)
}

// verify compares the hashes of source and copy.
func (r *runner) verify(ctx context.Context, p Pair, part Part) error {
	want, err := r.From.Hash(ctx, p.From, r.Verify)
	if err != nil {
		return err
	}
	got, err := part.Hash(ctx, r.Verify)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: %s is %s at the source and %s in the copy", ErrCorrupt, r.Verify, want, got)
	}
	return nil
}

// attributes are those of the copy.
func (r *runner) attributes(info uftp.Info, existing *uftp.Info) uftp.Attr {
	var a uftp.Attr
	switch {
	case r.Modes:
		a.Mode, a.SetMode = info.Mode.Perm(), true
	case existing != nil:
		a.Mode, a.SetMode = existing.Mode.Perm(), true
	}
	if r.Times {
		a.ModTime = info.ModTime
	}
	return a
}

// algorithm is the hash to compare files by.
func (r *runner) algorithm() string {
	if r.Verify != "" {
		return r.Verify
	}
	return "SHA-256"
}
