// Package result is what the programs of the benchmark tell each other: what a
// piece of work amounted to, as one JSON object on standard output.
package result

import (
	"encoding/json"
	"io"
	"syscall"
	"time"
)

// Result is what one piece of work amounted to.
type Result struct {
	Bytes     int64         `json:"bytes"`                // of file contents
	Ops       int64         `json:"ops"`                  // reads, files or entries, as the work counts them
	Time      time.Duration `json:"time_ns"`              // wall clock
	FirstByte time.Duration `json:"first_byte_ns"`        // from the beginning to the first byte, 0 if there is none
	CPU       time.Duration `json:"cpu_ns,omitempty"`     // of the process that did it
	Fetched   int64         `json:"fetched,omitempty"`    // bytes of file contents that came over the wire
	Trips     int64         `json:"roundtrips,omitempty"` // waits for the server
	Peak      int64         `json:"peak,omitempty"`       // bytes of memory of the process that did it
	Verified  bool          `json:"verified,omitempty"`   // all bytes were compared and right
}

// Print writes r as a line of JSON.
func (r Result) Print(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// CPUTime is what the process has used so far, in user and kernel mode.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
