package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// progressFlags say how a command that does many things tells about it.
type progressFlags struct {
	style   string
	verbose bool
}

func (f *progressFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.style, "progress", "auto", "`STYLE`: bar, lines, json, or none; auto is a bar on a terminal")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "a line for each item: the same as --progress=lines")
}

// reporter is an Observer that a person or a program reads.
type reporter interface {
	transfer.Observer
	// finish tells how it ended.
	finish(sum transfer.Summary, took time.Duration, dryRun bool)
}

func (a *app) reporter(f *progressFlags, dryRun bool) (reporter, error) {
	style := f.style
	if style == "auto" {
		switch {
		case f.verbose || dryRun:
			style = "lines"
		case isTerminal(a.stderr):
			style = "bar"
		default:
			style = "none"
		}
	}
	switch style {
	case "bar":
		return newBarReporter(a.stderr), nil
	case "lines":
		return &lineReporter{out: a.stdout, errs: a.stderr}, nil
	case "none":
		return &lineReporter{out: io.Discard, errs: a.stderr, quiet: true}, nil
	case "json":
		return &jsonReporter{encoder: json.NewEncoder(a.stdout)}, nil
	}
	return nil, usageErrorf("--progress=%s: must be auto, bar, lines, json or none", style)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// run does a job and tells about it.
func (a *app) run(ctx context.Context, job transfer.Job, f *progressFlags) error {
	return a.observed(f, job.DryRun, func(o transfer.Observer) (transfer.Summary, error) {
		job.Observer = o
		return transfer.Run(ctx, job)
	})
}

// observed runs f with an observer. What that has told of is not told again.
func (a *app) observed(flags *progressFlags, dryRun bool, f func(transfer.Observer) (transfer.Summary, error)) error {
	r, err := a.reporter(flags, dryRun)
	if err != nil {
		return err
	}
	begin := time.Now()
	sum, err := f(r)
	r.finish(sum, time.Since(begin), dryRun)
	if sum.Failed == 1 && sum.Items() == 1 && !errors.Is(err, context.Canceled) {
		return codeError(outcomeOf(err).code) // the item's line said it
	}
	return err
}

// lineReporter prints a line for each item, and what failed.
type lineReporter struct {
	mu        sync.Mutex
	out, errs io.Writer
	quiet     bool // no summary unless something failed
}

func (r *lineReporter) Found(transfer.Item)              {}
func (r *lineReporter) Moved(transfer.Item, int64, bool) {}

func (r *lineReporter) Done(item transfer.Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		fmt.Fprintln(r.errs, failureLine(err))
		return
	}
	fmt.Fprintln(r.out, itemLine(item))
}

func (r *lineReporter) finish(sum transfer.Summary, took time.Duration, dryRun bool) {
	if r.quiet && sum.Failed == 0 || sum.Failed == 1 && sum.Items() == 1 {
		return
	}
	fmt.Fprintln(r.errs, "csi-uftp:", summaryLine(sum, took, dryRun))
}

// itemLine shows an item. Names that are no good on a terminal are quoted.
func itemLine(item transfer.Item) string {
	if item.Action == transfer.Copy || item.Action == transfer.Skip {
		return fmt.Sprintf("%-6s %s -> %s", item.Action, shown(item.From), shown(item.To))
	}
	return fmt.Sprintf("%-6s %s", item.Action, shown(item.To))
}

// jsonReporter prints an object for each item, and one at the end.
type jsonReporter struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func (r *jsonReporter) Found(transfer.Item)              {}
func (r *jsonReporter) Moved(transfer.Item, int64, bool) {}

func (r *jsonReporter) Done(item transfer.Item, err error) {
	line := struct {
		Action string `json:"action"`
		From   string `json:"from,omitempty"`
		To     string `json:"to"`
		Size   int64  `json:"size"`
		Error  string `json:"error,omitempty"`
	}{item.Action.String(), item.From, item.To, item.Info.Size, ""}
	if err != nil {
		line.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.encoder.Encode(line) // whoever reads has gone: the copy goes on
}

func (r *jsonReporter) finish(sum transfer.Summary, took time.Duration, dryRun bool) {
	_ = r.encoder.Encode(map[string]any{"summary": map[string]any{
		"files": sum.Files, "directories": sum.Dirs, "bytes": sum.Bytes, "skipped": sum.Skipped,
		"deleted": sum.Deleted, "failed": sum.Failed, "seconds": took.Seconds(), "dryRun": dryRun,
	}})
}
