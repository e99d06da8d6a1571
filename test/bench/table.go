package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// columns are the heads of the tables.
func columns() []string {
	return []string{"what", "rate", "ratio", "fetched/read", "round trips", "CPU", "all CPU", "busy", "peak MiB", "idle MiB", "first byte", "mount", ""}
}

// cells are a row in the form of the tables.
func (r row) cells() []string {
	note := r.Note
	if r.Value > 0 && r.Subject != rawName && !r.Verified && r.Unit != seconds && note == "" {
		note = "not compared"
	}
	return []string{
		r.Subject, r.figure(), r.ratio(), optional(r.Fetched, "%.2f"), r.trips(),
		r.cpu(r.CPU), r.cpu(r.Machine), optional(100*r.Busy, "%.0f %%"),
		optional(float64(r.Peak)/(1<<20), "%.0f"), optional(float64(r.Idle)/(1<<20), "%.0f"),
		optional(r.FirstByte, "%.1f ms"), optional(r.Mount, "%.0f ms"), note,
	}
}

func (r row) figure() string {
	switch {
	case r.Value == 0:
		return "–"
	case r.Unit == seconds:
		return fmt.Sprintf("%.2f s", r.Value)
	case r.Unit == perSecond:
		return thousands(r.Value) + "/s"
	}
	return thousands(r.Value) + " " + string(r.Unit)
}

func (r row) ratio() string {
	if r.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func (r row) trips() string {
	switch {
	case r.Trips == 0:
		return ""
	case r.Unit == megabytes:
		return fmt.Sprintf("%.2f/MB", r.Trips)
	case r.Unit == perSecond:
		return fmt.Sprintf("%.2f/op", r.Trips)
	}
	return fmt.Sprintf("%.0f", r.Trips)
}

func (r row) cpu(s float64) string {
	switch {
	case s == 0:
		return ""
	case r.Unit == megabytes:
		return fmt.Sprintf("%.2f s/GB", s)
	case r.Unit == perSecond:
		return fmt.Sprintf("%.0f µs/op", s*1e6)
	}
	return fmt.Sprintf("%.2f s", s)
}

func optional(v float64, format string) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// thousands is a number of three or more figures.
func thousands(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, what string) string {
	if n != 1 && !strings.HasSuffix(what, "B") {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// groups calls f for each run of rows with the same link and workload.
func (r *report) groups(f func(link, workload string, rows []row)) {
	for i := 0; i < len(r.Rows); {
		j := i
		for j < len(r.Rows) && r.Rows[j].Link == r.Rows[i].Link && r.Rows[j].Workload == r.Rows[i].Workload {
			j++
		}
		f(r.Rows[i].Link, r.Rows[i].Workload, r.Rows[i:j])
		i = j
	}
}

func (l link) String() string {
	if l.Delay == "" {
		return l.Name + ": this machine's loopback"
	}
	limit := "no limit"
	if l.Bandwidth > 0 {
		limit = fmt.Sprintf("%d MB/s for each connection", l.Bandwidth/1_000_000)
	}
	return fmt.Sprintf("%s: %s, %d sessions; measured: round trip %.1f ms, carries %.0f MB/s in all",
		l.Name, limit, l.Sessions, l.RoundTrip, l.Ceiling)
}

// text writes the table for people.
func (r *report) text(w io.Writer) error {
	fmt.Fprintf(w, "%s, commit %s\n%s\nserver: %s, files of %d MiB in %s\n",
		r.Date.Format("2006-01-02 15:04"), r.Commit, r.Machine, r.Server, r.Size>>20, r.Dir)
	for _, l := range r.Links {
		fmt.Fprintln(w, l)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	r.groups(func(link, workload string, rows []row) {
		fmt.Fprintf(tw, "\n%s, %s\n", link, workload)
		fmt.Fprintln(tw, "  "+strings.Join(columns(), "\t"))
		for _, row := range rows {
			fmt.Fprintln(tw, "  "+strings.Join(row.cells(), "\t"))
		}
	})
	return tw.Flush()
}

// markdown writes the same for docs/PERFORMANCE.md.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s, commit `%s`. %s. Server: %s, files of %d MiB in `%s`.\n\n",
		r.Date.Format("2006-01-02"), r.Commit, r.Machine, r.Server, r.Size>>20, r.Dir)
	for _, l := range r.Links {
		fmt.Fprintf(w, "- %s\n", l)
	}
	head := append([]string{"link", "workload"}, columns()...)
	head[len(head)-1] = "note"
	fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	r.groups(func(link, workload string, rows []row) {
		for i, row := range rows {
			if i > 0 {
				link, workload = "", ""
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(append([]string{link, workload}, row.cells()...), " | "))
		}
	})
}
