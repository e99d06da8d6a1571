package fusefs_test

import (
	"fmt"
	"os"
)

// childEnv makes this test binary a program that works on a mount. What maps
// files of a mount must not run in the process that serves it: a page fault
// blocks a thread that Go's garbage collector waits for.
const childEnv = "FUSEFS_TEST_CHILD"

func runChild(what string) int {
	fmt.Fprintln(os.Stderr, "unknown child", what)
	return 2
}
