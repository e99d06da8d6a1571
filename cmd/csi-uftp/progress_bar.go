package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// barReporter shows one bar over all files, and failures above it. Its total
// grows while files are found.
type barReporter struct {
	out      io.Writer
	progress *mpb.Progress
	bar      *mpb.Bar

	mu                   sync.Mutex
	total                int64 // bytes known
	found, ended, failed int64 // items
	left                 map[string]int64
}

func newBarReporter(w io.Writer) *barReporter {
	r := &barReporter{out: w, left: make(map[string]int64)}
	r.progress = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(40))
	r.bar = r.progress.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return r.counts() })),
		mpb.AppendDecorators(
			decor.CountersKibiByte("% .1f / % .1f"),
			decor.Name(" "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f"),
			decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO),
		))
	return r
}

func (r *barReporter) counts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := fmt.Sprintf("%d/%d files ", r.ended, r.found)
	if r.failed > 0 {
		s += fmt.Sprintf("%d failed ", r.failed)
	}
	return s
}

// Found implements transfer.Observer.
func (r *barReporter) Found(item transfer.Item) {
	if item.Action != transfer.Copy {
		return
	}
	r.mu.Lock()
	r.found++
	r.total += item.Info.Size
	r.left[item.To] = item.Info.Size
	total := r.total
	r.mu.Unlock()
	r.bar.SetTotal(total, false)
}

// Moved implements transfer.Observer.
func (r *barReporter) Moved(item transfer.Item, n int64, _ bool) {
	r.mu.Lock()
	r.left[item.To] -= n
	r.mu.Unlock()
	r.bar.IncrInt64(n)
}

// Done implements transfer.Observer. What was not moved of a file that failed,
// or was there, will not be.
func (r *barReporter) Done(item transfer.Item, err error) {
	r.mu.Lock()
	if left, ok := r.left[item.To]; ok {
		r.ended++
		r.total -= left
		delete(r.left, item.To)
	}
	if err != nil {
		r.failed++
	}
	total := r.total
	r.mu.Unlock()
	r.bar.SetTotal(total, false)
	if err != nil {
		_, _ = io.WriteString(r.progress, failureLine(err)+"\n")
	}
}

func (r *barReporter) finish(sum transfer.Summary, took time.Duration, dryRun bool) {
	r.bar.SetTotal(-1, true)
	r.progress.Wait()
	fmt.Fprintln(r.out, "csi-uftp:", summaryLine(sum, took, dryRun))
}
