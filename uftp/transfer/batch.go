package transfer

import (
	"context"
	"encoding/hex"
	"path"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Files of up to smallFile bytes are uploaded together: a batch has at most
// batchFiles of them and batchBytes.
const (
	smallFile  = 256 << 10
	batchFiles = 128
	batchBytes = 4 << 20
)

// putter is a [Client] that puts many files without waiting between them.
type putter interface {
	PutFiles(ctx context.Context, files []uftp.NewFile) []error
}

// waiting is a file that waits for others to be uploaded with.
type waiting struct {
	pair     Pair
	item     Item
	existing *uftp.Info
}

// batch is files that are uploaded together. It is the walking goroutine's until
// it is full.
type batch struct {
	files []waiting
	bytes int64
}

// putter returns the target as one, if the job is to read local files whole and
// put them there.
func (r *runner) putter() putter {
	_, local := r.From.(Local)
	to, ok := r.To.(Remote)
	if !local || !ok || r.Range != nil || r.InPlace {
		return nil
	}
	p, _ := to.Client.(putter)
	return p
}

// join makes a file part of the batch, and reports whether it did.
func (r *runner) join(ctx context.Context, p Pair, item Item, existing *uftp.Info) bool {
	if r.puts == nil || item.Info.Size > smallFile || checkName(p.To) != nil {
		return false
	}
	if len(r.batch.files) == batchFiles || r.batch.bytes+item.Info.Size > batchBytes {
		r.flush(ctx)
	}
	r.batch.files = append(r.batch.files, waiting{p, item, existing})
	r.batch.bytes += item.Info.Size
	return true
}

// flush queues the batch.
func (r *runner) flush(ctx context.Context) {
	b := r.batch
	if len(b.files) == 0 {
		return
	}
	r.batch = batch{}
	select {
	case r.queue <- func() { r.upload(ctx, b) }:
	case <-ctx.Done():
	}
}

// upload reads the files of a batch and puts those that are not there already.
func (r *runner) upload(ctx context.Context, b batch) {
	buf := make([]byte, b.bytes)
	todo := b.files[:0]
	var files []uftp.NewFile
	for _, w := range b.files {
		keep, err := r.keeps(ctx, w.pair, w.item.Info, w.existing)
		switch {
		case keep && err == nil:
			w.item.Action = Skip
			if !r.DryRun {
				err = r.adjust(ctx, w.pair.To, w.item.Info, *w.existing)
			}
			r.done(ctx, w.item, err)
			continue
		case err != nil || r.DryRun:
			r.done(ctx, w.item, err)
			continue
		}
		data := buf[:w.item.Info.Size:w.item.Info.Size]
		buf = buf[len(data):]
		if err := r.slurp(ctx, w, data); err != nil {
			r.done(ctx, w.item, err)
			continue
		}
		a := r.attributes(w.item.Info, w.existing)
		f := uftp.NewFile{
			Path: w.pair.To, Part: path.Join(path.Dir(w.pair.To), r.partName(w.pair, w.item.Info)),
			Data: data, Mode: a.Mode, SetMode: a.SetMode, ModTime: a.ModTime, Hash: r.Verify,
		}
		if f.Hash != "" {
			h, err := NewHash(f.Hash)
			if err != nil {
				r.done(ctx, w.item, err)
				continue
			}
			h.Write(data)
			f.Sum = hex.EncodeToString(h.Sum(nil))
		}
		todo, files = append(todo, w), append(files, f)
	}
	if len(files) == 0 {
		return
	}
	for i, err := range r.puts.PutFiles(ctx, files) {
		if err == nil {
			r.moved(todo[i].item, todo[i].item.Info.Size, false)
		}
		r.done(ctx, todo[i].item, err)
	}
}

// slurp reads a whole file, which must not change meanwhile.
func (r *runner) slurp(ctx context.Context, w waiting, data []byte) (err error) {
	src, err := r.From.Open(ctx, w.pair.From, w.item.Info)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := src.Close(); err == nil {
			err = cerr
		}
	}()
	for rest := data; r.limit != nil && len(rest) > 0; {
		n := min(len(rest), r.limit.Burst())
		if err := r.limit.WaitN(ctx, n); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if len(data) > 0 {
		if err := src.ReadAt(ctx, data, 0); err != nil {
			return err
		}
	}
	return src.Check(ctx)
}
