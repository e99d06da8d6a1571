// Command podtool is what the pods of the end-to-end tests run: a few file
// operations in a static binary, because there are no images with a shell where
// there is no registry. Most pods just wait, and tests run other commands in them
// by kubectl exec. Called as "pause" it is the container that holds a pod's
// namespaces.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name != "pause" {
		if len(args) == 0 {
			fmt.Fprintln(os.Stderr, "usage: podtool COMMAND ARGS")
			os.Exit(2)
		}
		name, args = args[0], args[1:]
	}
	if err := run(name, args); err != nil {
		// The errno's name is what tests look for.
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			fmt.Fprintf(os.Stderr, "podtool: errno %d: ", int(errno))
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command is one thing that podtool can do.
type command struct {
	args int // number of arguments, at least
	run  func(args []string) error
}

func commands() map[string]command {
	return map[string]command{
		"pause":  {0, func([]string) error { return wait() }},
		"wait":   {0, func([]string) error { return wait() }},
		"write":  {2, func(a []string) error { return put(a[0], a[1], os.O_TRUNC) }},
		"append": {2, func(a []string) error { return put(a[0], a[1], os.O_APPEND) }},
		"fill":   {3, fill},
		"cat":    {1, cat},
		"sum":    {1, sum},
		"watch":  {2, watch},
		"ls":     {1, list},
		"stat":   {1, stat},
		"rm":     {1, func(a []string) error { return os.Remove(a[0]) }},
		"mkdir":  {1, func(a []string) error { return os.Mkdir(a[0], 0o777) }},
		"chroot": {2, func(a []string) error { return chroot(a[0], a[1:]) }},
		"mv":     {2, func(a []string) error { return os.Rename(a[0], a[1]) }},
	}
}

func run(name string, args []string) error {
	c, ok := commands()[name]
	if !ok {
		return fmt.Errorf("there is no command %q", name)
	}
	if len(args) < c.args {
		return fmt.Errorf("%s wants %d arguments", name, c.args)
	}
	return c.run(args)
}
