// Command raw moves files with the UFTP server as fast as the wire allows: it is
// what everything else in the benchmark is compared with. It has no FUSE, no
// cache and nothing of package uftp, just ranges that are pipelined on data
// connections that stay open. What it reads it drops.
//
//	raw read     -file F -size N          a file from its beginning to its end;
//	                                      with -to G it is written to a local file
//	raw ranges   -file F -size N -n 4096  pieces of it at random, or with -stride in order
//	raw many     -file F%d -count 8 -size N   several files at once
//	raw list     -dir D                   names, sizes and times
//	raw files    -dir D                   all files in D
//	raw tree     -dir D                   and below
//	raw write    -file F -size N
//	raw put      -dir D -count 2000 -n 10240   new small files
//	raw mixed    -file F -out G -size N   reads one and writes one
//
// The server is $BENCH_SERVER, the one-time password $UFTP_PASSWORD. It prints
// a result.Result.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

// job is what to do.
type job struct {
	file, out, dir string
	to             string // a local file, which gets what is read
	size           int64  // bytes of the file
	piece          int64  // bytes of a range
	stride         int64  // from one range to the next; 0 is random
	count          int    // files or ranges; 0 is as many as the time allows
	sessions       int
	depth          int           // ranges under way on each session
	limit          time.Duration // no new range after this time
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "raw: what to do is missing")
		os.Exit(2)
	}
	var j job
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&j.file, "file", "", "")
	flags.StringVar(&j.out, "out", "", "")
	flags.StringVar(&j.to, "to", "", "")
	flags.StringVar(&j.dir, "dir", ".", "")
	flags.Int64Var(&j.size, "size", 0, "")
	flags.Int64Var(&j.piece, "n", 4<<20, "")
	flags.Int64Var(&j.stride, "stride", 0, "")
	flags.IntVar(&j.count, "count", 0, "")
	flags.IntVar(&j.sessions, "sessions", 1, "")
	flags.IntVar(&j.depth, "depth", 32, "")
	flags.DurationVar(&j.limit, "limit", time.Minute, "")
	_ = flags.Parse(os.Args[2:]) // it exits
	if err := run(os.Args[1], j); err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err)
		os.Exit(1)
	}
}

func run(what string, j job) error {
	work, ok := map[string]func(job, []*session) (result.Result, error){
		"read": read, "ranges": ranges, "many": many, "list": list, "files": files, "tree": tree,
		"write": write, "put": put, "mixed": mixed,
	}[what]
	if !ok {
		return fmt.Errorf("cannot %s", what)
	}
	all, err := sessions(j.sessions)
	if err != nil {
		return err
	}
	before := int64(0)
	for _, s := range all {
		defer s.close()
		before += s.trips
	}
	begin, cpu := time.Now(), result.CPUTime()
	r, err := work(j, all)
	if err != nil {
		return err
	}
	r.Time, r.CPU = time.Since(begin), result.CPUTime()-cpu
	for _, s := range all {
		r.Trips += s.trips
	}
	r.Trips -= before
	return r.Print(os.Stdout)
}
