package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// commandInit and commandNode are the two inner commands.
const (
	commandInit = "init"
	commandNode = "node"
)

// Descriptors that init gets. It holds the lock for as long as it lives.
const (
	fdDoor  = 3 // the listening socket of 127.0.0.1, made outside
	fdReady = 4 // takes one byte when pods can be made
	fdLock  = 5
)

// initMain is process 1 in the cluster's namespaces. It starts the node and then
// does what only process 1 can: reap the orphans, such as containerd's shims. Its
// end is everybody's.
func initMain(o options) error {
	syscall.CloseOnExec(fdLock)
	args := append([]string{"/proc/self/exe", commandNode}, os.Args[2:]...)
	node, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2, fdDoor, fdReady},
	})
	if err != nil {
		return err
	}
	for _, fd := range []int{fdDoor, fdReady} { // only the node's end is to count
		if err := syscall.Close(fd); err != nil {
			return err
		}
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case pid == node:
			return fmt.Errorf("cluster %s: the node ended with status %#x", o.dir, status)
		}
	}
}
