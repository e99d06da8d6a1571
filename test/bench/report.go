package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is the machine-readable outcome.
type report struct {
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	Server  string    `json:"server"`
	Dir     string    `json:"dir"` // where the server's files were
	Size    int64     `json:"size"`
	Links   []link    `json:"links"`
	Rows    []row     `json:"rows"`
}

// row is a figure and what belongs to it.
type row struct {
	Link     string    `json:"link"`
	Workload string    `json:"workload"`
	Subject  string    `json:"subject"`
	Unit     unit      `json:"unit"`
	Value    float64   `json:"value"`          // the median of the runs
	Runs     []float64 `json:"runs,omitempty"` // all of them, in order
	Ratio    float64   `json:"ratio,omitempty"`
	Against  string    `json:"against,omitempty"` // what the ratio is to; more is better

	Fetched   float64 `json:"fetched_per_byte,omitempty"` // bytes that came per byte read
	Trips     float64 `json:"roundtrips,omitempty"`       // per operation; per MB, or in all, as the unit says
	CPU       float64 `json:"cpu_seconds,omitempty"`      // of the serving process, per GB, or per operation
	Machine   float64 `json:"machine_seconds,omitempty"`  // processor time of everything, the server too, likewise
	Busy      float64 `json:"machine_busy,omitempty"`     // part of all processors' time
	Peak      int64   `json:"peak_bytes,omitempty"`       // of the serving process's memory
	Idle      int64   `json:"idle_bytes,omitempty"`       // of it in no file, when it was mounted
	FirstByte float64 `json:"first_byte_ms,omitempty"`
	Mount     float64 `json:"mount_ms,omitempty"` // from the start of the program to its mount
	Verified  bool    `json:"verified"`
	Note      string  `json:"note,omitempty"` // why there is no figure, or what is wrong with it
}

// failed reports whether the row means that the product is broken.
func (r row) failed() bool {
	return strings.HasPrefix(r.Subject, productName) && (r.Note == noteWrong || r.Value == 0 && !strings.HasPrefix(r.Note, noteSkipped))
}

const (
	noteWrong   = "WRONG BYTES"
	noteSkipped = "skipped: "
)

// machine says what all this ran on.
func machine() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if _, model, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "model name") {
				cpu = strings.TrimSpace(model)
				break
			}
		}
	}
	var mem unix.Sysinfo_t
	_ = unix.Sysinfo(&mem)
	gib := int64(mem.Totalram) * int64(mem.Unit) >> 30
	return strings.Join([]string{
		plural(runtime.NumCPU(), "CPU"), cpu, plural(int(gib), "GiB") + " of memory", "Linux " + unix.ByteSliceToString(name.Release[:]),
	}, ", ")
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output() //nolint:noctx // quick
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (r *report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func loadReport(path string) (*report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r report
	return &r, json.Unmarshal(text, &r)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
