// Command gotest runs go test with the arguments it gets, shows what go test
// shows, and adds at the end which tests were skipped, and why. A skipped test
// is easily taken for one that passed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string, stdout, stderr io.Writer) (int, error) {
	// The terminal signals go test as well, and the tests of it; what they clean
	// up is worth waiting for.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) //nolint:noctx // the arguments are go test's; it ends by itself
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r := report{out: stdout, output: make(map[key][]string)}
	readErr := r.read(pipe)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, pipe)
	}
	err = cmd.Wait()
	r.close()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	case err != nil:
		return 0, err
	}
	return 0, readErr
}

// event is one line of go test -json.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

type key struct{ pkg, test string }

type skip struct {
	key
	reason string
}

// report turns events back into go test's usual text. It keeps a test's output
// until it is known whether the test failed.
type report struct {
	out    io.Writer
	output map[key][]string
	skips  []skip
	passed int
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = r.out.Write(line) // not from a test
			} else {
				r.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		switch {
		case e.Test != "":
			r.output[k] = append(r.output[k], e.Output)
		case e.Output != "PASS\n":
			fmt.Fprint(r.out, e.Output)
		}
	case "pass", "skip", "fail":
		if e.Test == "" {
			return
		}
		switch e.Action {
		case "pass":
			r.passed++
		case "skip":
			r.skips = append(r.skips, skip{k, reason(r.output[k])})
		case "fail":
			r.show(k)
		}
		delete(r.output, k)
	}
}

// show prints a failed test's output without the lines that only say it ran.
func (r *report) show(k key) {
	for _, line := range r.output[k] {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(r.out, line)
		}
	}
}

// reason finds what t.Skip was given: the line "    file_test.go:12: reason"
// and those that continue it.
func reason(output []string) string {
	var text []string
	for _, line := range output {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(trimmed, "--- ") {
			continue
		}
		text = append(text, trimmed)
	}
	if len(text) == 0 {
		return "no reason given"
	}
	joined := strings.Join(text, " ")
	if _, after, ok := strings.Cut(joined, ".go:"); ok {
		if _, after, ok = strings.Cut(after, ": "); ok {
			return after
		}
	}
	return joined
}

// close shows tests that never ended (a panic or a timeout), then the skipped.
func (r *report) close() {
	for k := range r.output {
		r.show(k)
	}
	if len(r.skips) == 0 {
		fmt.Fprintf(r.out, "\n%d tests passed, none was skipped\n", r.passed)
		return
	}
	slices.SortStableFunc(r.skips, func(a, b skip) int {
		return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(a.pkg, b.pkg))
	})
	fmt.Fprintf(r.out, "\n%d tests passed, %d were skipped:\n", r.passed, len(r.skips))
	last := ""
	for _, s := range r.skips {
		if s.reason != last {
			fmt.Fprintf(r.out, "  %s\n", s.reason)
			last = s.reason
		}
		fmt.Fprintf(r.out, "    %s %s\n", s.pkg, s.test)
	}
}
