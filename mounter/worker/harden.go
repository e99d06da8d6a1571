package worker

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps what the process will hold in memory out of core files and out
// of reach of other processes of the same user. What must be taken away before
// the process starts (user, capabilities, new privileges) the keeper took.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit RLIMIT_CORE: %w", err)
	}
	return nil
}
