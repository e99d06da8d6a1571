package fsxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// childEnv makes a test binary a program that does one Run.
const childEnv = "FSXTEST_RUN"

// Child ends the process after one Run, if [RunChild] started it for that, and
// does nothing otherwise. TestMain calls it first.
func Child() {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	var cfg Config
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = Run(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// RunChild does one [Run] in a child, for a process that serves the file system
// or the server behind it: a page fault on a mapped file blocks a thread that
// Go's garbage collector waits for. cfg.Trace is not passed on.
func RunChild(ctx context.Context, cfg Config) error {
	cfg.Trace = nil
	text, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
