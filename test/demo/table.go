package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// work is what a step did.
type work struct {
	files int
	bytes int64
	unit  string // what files counts, if not files
}

// table is what the steps took.
type table struct {
	rows []row
}

type row struct {
	name string
	work
	took time.Duration
}

// time runs a step and notes it.
func (t *table) time(ctx context.Context, name string, step func() (work, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	begin := time.Now()
	w, err := step()
	if err != nil {
		return err
	}
	t.rows = append(t.rows, row{name, w, time.Since(begin)})
	return nil
}

func (t *table) print(w io.Writer) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "step\tamount\ttime\trate")
	for _, r := range t.rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.name, r.amount(), r.duration(), r.rate())
	}
	_ = tw.Flush()
	fmt.Fprintln(w, "\nAll bytes were right. Nothing is left behind.")
}

func (r row) amount() string {
	unit := r.unit
	if unit == "" {
		unit = "files"
	}
	switch {
	case r.files > 1 && r.bytes > 0:
		return fmt.Sprintf("%d %s, %d MiB", r.files, unit, r.bytes>>20)
	case r.files > 1:
		return fmt.Sprintf("%d %s", r.files, unit)
	case r.bytes > 0:
		return fmt.Sprintf("%d MiB", r.bytes>>20)
	}
	return ""
}

func (r row) duration() string { return fmt.Sprintf("%.2f s", r.took.Seconds()) }

func (r row) rate() string {
	seconds := r.took.Seconds()
	switch {
	case r.bytes >= 100<<20:
		return fmt.Sprintf("%.0f MiB/s", float64(r.bytes)/seconds/(1<<20))
	case r.files > 1:
		return fmt.Sprintf("%.0f/s", float64(r.files)/seconds)
	}
	return ""
}
