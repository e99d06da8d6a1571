// Command load is a program that works on files, and tells how long that took:
// what the benchmark lets loose on a mount. It is a process of its own, so that
// its time is not the benchmark's, and so that it can be killed when a mount
// does not answer.
//
//	load read    FILE...                 each by a reader of its own, from beginning to end
//	load ranges  -n 4096 -threads 16 FILE    pieces at random, or with -stride in order
//	load files   -threads 8 -shuffle DIR     every file in DIR, in the directory's order
//	load names   DIR                     names, sizes and times of the entries of DIR
//	load tree    DIR                     every file in DIR and below
//	load write   -size N FILE            one file, with fsync
//	load put     -count 2000 -n 10240 DIR    new files
//	load mixed   -size N -out FILE FILE      reads one, writes one
//	load run     COMMAND ARG...          another program; its output is read and dropped,
//	                                     and counts as bytes unless -size says what does
//
// With -truth, a directory with what -root should show, what is read is compared
// with the files there, and what was written is read again there. Reading and comparing take time: what is
// timed is not compared. It prints a result.Result.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

// job is what to do.
type job struct {
	names   []string // the arguments
	root    string   // the names are below
	truth   string   // directory with the same files by another way, or ""
	out     string
	size    int64 // bytes of the file to write
	piece   int64 // bytes of a read
	stride  int64 // from one read to the next; 0 is random
	count   int   // files or reads; 0 is as many as the time allows
	threads int
	shuffle bool
	limit   time.Duration // stop after this time
}

// errWrong says that a byte was not what it should be.
var errWrong = errors.New("wrong bytes")

// exitWrong is the exit code of that.
const exitWrong = 9

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "load: what to do is missing")
		os.Exit(2)
	}
	var j job
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&j.truth, "truth", "", "")
	flags.StringVar(&j.root, "root", "/", "")
	flags.StringVar(&j.out, "out", "", "")
	flags.Int64Var(&j.size, "size", 0, "")
	flags.Int64Var(&j.piece, "n", 1<<20, "")
	flags.Int64Var(&j.stride, "stride", 0, "")
	flags.IntVar(&j.count, "count", 0, "")
	flags.IntVar(&j.threads, "threads", 1, "")
	flags.BoolVar(&j.shuffle, "shuffle", false, "")
	flags.DurationVar(&j.limit, "limit", time.Minute, "")
	_ = flags.Parse(os.Args[2:]) // it exits
	j.names = flags.Args()
	err := run(os.Args[1], j)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
	}
	switch {
	case errors.Is(err, errWrong):
		os.Exit(exitWrong)
	case err != nil:
		os.Exit(1)
	}
}

func run(what string, j job) error {
	work, ok := map[string]func(job, *clock) error{
		"read": read, "ranges": ranges, "files": files, "tree": tree, "names": names,
		"write": write, "put": put, "mixed": mixed, "run": command,
	}[what]
	if !ok || len(j.names) == 0 {
		return fmt.Errorf("cannot %s %q", what, j.names)
	}
	r := &result.Result{Verified: j.truth != ""}
	c := &clock{child: r, begin: time.Now(), limit: j.limit}
	if err := work(j, c); err != nil {
		return err
	}
	r.Bytes, r.Ops, r.Time, r.FirstByte = c.bytes.Load(), c.ops.Load(), c.elapsed(), time.Duration(c.first.Load())
	return r.Print(os.Stdout)
}
