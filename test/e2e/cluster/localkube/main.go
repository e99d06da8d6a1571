// Command localkube runs a single-node Kubernetes cluster on a bare Linux machine,
// without systemd, Docker or a container registry.
//
//	localkube run [flags] -- CMD ARGS...     a cluster for as long as CMD runs
//	localkube up [flags]                     one that stays
//	localkube load -dir DIR TAR...           images for it
//	localkube exec -dir DIR -- CMD ARGS...   CMD on its node
//	localkube restart -dir DIR kubelet
//	localkube down [-dir DIR]                end it, or all that stay
//
// containerd, etcd, the control plane, the kubelet and kube-proxy run in new mount,
// PID, network and UTS namespaces whose init is this same program: the end of that
// one process ends the cluster and takes every process, mount and interface with
// it. Nothing listens outside of them but one port of 127.0.0.1, which is passed
// through to the API server. Several clusters can run side by side.
//
// run gives CMD the environment that the tests in test/e2e/pods want. However it
// ends, by success, failure, signal or kill -9, the cluster ends with it; what the
// last leaves on the disk, the next run or down removes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	// A cluster made by run dies with the thread that made it: keep that alive.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
	case failed && exit.Exited():
		os.Exit(exit.ExitCode()) // the command has said why
	default:
		fmt.Fprintln(os.Stderr, "localkube:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	base, dir, bin, cni string
	port                int
}

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: localkube run|up|load|exec|restart|down [flags] [--] [arguments]")
	}
	var o options
	set := flag.NewFlagSet("localkube "+args[0], flag.ContinueOnError)
	set.StringVar(&o.base, "base", "/var/lib/csi-uftp-e2e", "`DIRECTORY` of all clusters, on a file system that overlayfs can lie on")
	set.StringVar(&o.dir, "dir", "", "`DIRECTORY` of this cluster (default: a new one below -base)")
	set.StringVar(&o.bin, "bin", ".", "`DIRECTORY` with the program kube, and in images/ what to load at first")
	set.StringVar(&o.cni, "cni", "/usr/lib/cni", "`DIRECTORY` with the CNI plugins")
	set.IntVar(&o.port, "port", 0, "`PORT` of 127.0.0.1 for the API server (default: any that is free)")
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	rest := set.Args()
	switch args[0] {
	case "run":
		return run(ctx, o, rest)
	case "up":
		return up(ctx, o)
	case "load":
		return cluster{dir: o.dir}.load(ctx, rest)
	case "exec":
		return cluster{dir: o.dir}.enter(ctx, rest...)
	case "restart":
		return cluster{dir: o.dir}.restart(ctx, rest)
	case "down":
		return downAll(o)
	case commandInit:
		return initMain(o)
	case commandNode:
		return nodeMain(ctx, o)
	}
	return fmt.Errorf("there is no command %q", args[0])
}
