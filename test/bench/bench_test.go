package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"4G": 4 << 30, "256M": 256 << 20, "1Gi": 1 << 30, "64MiB": 64 << 20, "33554432": 32 << 20, "": 4 << 30,
	} {
		if got, err := parseSize(text, false); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"1M", "big", "-4G", "4T"} {
		if got, err := parseSize(text, false); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

// TestFigures computes a group of rows from runs.
func TestFigures(t *testing.T) {
	w := workload{name: "read cold", unit: megabytes, raw: func(place) []string { return nil }}
	run := func(mb int64, took time.Duration) sample {
		return sample{Result: result.Result{Bytes: mb * 1e6, Fetched: 2 * mb * 1e6, Time: took, Trips: mb, CPU: took / 2}, machine: processors{busy: took, idle: took}, peak: 300 << 20, idle: 8 << 20}
	}
	raw := row{Subject: rawName, Unit: megabytes}
	raw.summarise(w, []sample{run(1000, time.Second)})
	ours := row{Subject: productName, Unit: megabytes, Link: "lan", Workload: "read cold", Verified: true}
	ours.summarise(w, []sample{run(1000, 2*time.Second), run(1000, 4*time.Second), run(1000, time.Minute)})
	rows := []row{raw, ours}
	compare(w, rows)
	if got := rows[1]; got.Value != 250 || got.Ratio != 0.25 || got.Fetched != 2 || got.Trips != 1 || got.CPU != 2 || got.Machine != 4 || got.Busy != 0.5 {
		t.Errorf("got %+v", got)
	}
	r := report{Rows: []row{{Link: "lan", Workload: "read cold", Subject: rawName, Unit: megabytes, Value: raw.Value}, rows[1]}}
	var text, markdown bytes.Buffer
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	r.markdown(&markdown)
	if want := "csi-uftp  250 MB/s    0.25   2.00          1.00/MB      2.00 s/GB  4.00 s/GB  50 %  300       8"; !strings.Contains(text.String(), want) {
		t.Errorf("%q is not in\n%s", want, text.String())
	}
	if want := "|  |  | csi-uftp | 250 MB/s | 0.25 | 2.00 | 1.00/MB | 2.00 s/GB | 4.00 s/GB | 50 % | 300 | 8 |  |  |  |"; !strings.Contains(markdown.String(), want) {
		t.Errorf("%q is not in\n%s", want, markdown.String())
	}
}

// TestVerdict tells what makes the benchmark fail: never that something is slow.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		row  row
		want bool
	}{
		{row{Subject: productName, Value: 0.001}, false},
		{row{Subject: productName, Value: 1, Note: noteWrong}, true},
		{row{Subject: productName, Note: "not done after 1m30s"}, true},
		{row{Subject: productName, Note: noteSkipped + "no such thing"}, false},
		{row{Subject: "rclone", Note: noteWrong}, false},
	} {
		if got := test.row.failed(); got != test.want {
			t.Errorf("%+v: failed is %v", test.row, got)
		}
	}
}

// TestPlan keeps the names that BENCH chooses from apart.
func TestPlan(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range workloads() {
		if seen[w.name] {
			t.Errorf("two workloads are called %q", w.name)
		}
		seen[w.name] = true
		if w.work(place{dir: "/d", sessions: 1, size: 1, copy: func(string, string) []string { return nil }}) == nil || w.check == nil && !w.writes {
			t.Errorf("%s does nothing, or does not compare", w.name)
		}
	}
}
