package main

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// unit is what a figure counts.
type unit string

const (
	megabytes unit = "MB/s" // of 10^6 bytes
	perSecond unit = "/s"   // operations
	seconds   unit = "s"    // for the whole: less is better
)

// tool is the program that does a workload on a mount.
type tool int

const (
	byLoad tool = iota
	byFio
)

// workload is something to do with the files, on a mount and on the wire.
type workload struct {
	name  string
	unit  unit
	tool  tool
	links []string // where it is measured; nil is everywhere
	quick bool     // also when there is little time

	// raw are the arguments of the reference, and nil if a local file is that.
	raw func(p place) []string
	// work are the arguments of the tool. Where it writes, it gets -truth once.
	work func(p place) []string
	// check are the arguments of load for reading and comparing the same.
	check func(p place) []string

	warm      bool // the second time on the same mount counts
	diskCache bool // the second time, on another mount with the same disk cache
	writes    bool
	copies    int // how many files a copier copies; 0 is for mounts
}

// place is where and how much.
type place struct {
	dir      string // as the subject shows it
	size     int64  // of bigFile
	limit    string // of a timed run
	sessions int    // of the reference

	// For copiers:
	copy  func(from, to string) []string // the command
	data  string                         // the server's own directory
	local string                         // where copies go
}

// source is a file on the server's own disk.
func (p place) source(name string) string { return filepath.Join(p.data, name) }

func (p place) at(name string) string { return filepath.Join(p.dir, name) }

func (p place) bytes() string { return strconv.FormatInt(p.size, 10) }

// workloads is the benchmark.
func workloads() []workload {
	near := []string{"lan", "40ms"}
	all := []workload{
		readWhole(workload{name: "read cold", quick: true}),
		readWhole(workload{name: "read warm, kernel cache", warm: true, links: []string{"lan"}}),
		readWhole(workload{name: "read warm, disk cache", diskCache: true, links: near}),
		readParts(near),
		random(4<<10, 1, near, false), random(4<<10, 16, near, true),
		random(128<<10, 1, near, false), random(128<<10, 16, near, false),
		strided(near),
		list("ls -l of 2,000", smallDir, smallCount, []string{"lan", "10ms", "40ms", "100ms"}, true),
		list("ls -l of 20,000", crowdDir, crowdCount, near, false),
		small("2,000 files in order", 1, false, []string{"lan", "10ms", "40ms", "100ms"}, true),
		again(small("2,000 files in order, again", 1, false, near, false)),
		small("2,000 files in order, 8 threads", 8, false, near, false),
		small("2,000 files shuffled", 1, true, near, false),
		small("2,000 files shuffled, 8 threads", 8, true, near, false),
		tar(near),
		{
			name: "write, fsync", unit: megabytes, writes: true, quick: true,
			raw: func(p place) []string {
				return []string{"write", "-file", outDir + "/raw", "-size", p.bytes(), "-sessions", strconv.Itoa(p.sessions)}
			},
			work: func(p place) []string { return []string{"write", "-size", p.bytes(), p.at(outDir + "/new")} },
		},
		put("2,000 new files", 1, near), put("2,000 new files, 8 threads", 8, near),
		{
			name: "mixed read and write", unit: megabytes, writes: true, links: near,
			raw: func(p place) []string {
				return []string{"mixed", "-file", bigFile, "-out", outDir + "/raw", "-size", p.bytes(), "-sessions", strconv.Itoa(max(2, p.sessions))}
			},
			work: func(p place) []string {
				return []string{"mixed", "-size", p.bytes(), "-out", p.at(outDir + "/new"), p.at(bigFile)}
			},
		},
	}
	return append(all, copying(near, "40ms-4")...)
}

// readWhole completes a workload that reads bigFile.
func readWhole(w workload) workload {
	w.unit = megabytes
	w.work = func(p place) []string { return []string{"read", p.at(bigFile)} }
	w.check = w.work
	if !w.warm && !w.diskCache {
		w.raw = func(p place) []string {
			return []string{"read", "-file", bigFile, "-size", p.bytes(), "-sessions", strconv.Itoa(p.sessions)}
		}
	}
	return w
}

func readParts(links []string) workload {
	w := workload{
		name: "8 readers of 8 files", unit: megabytes, links: links,
		raw: func(p place) []string {
			return []string{"many", "-file", partName, "-count", strconv.Itoa(parts),
				"-size", strconv.FormatInt(p.size/partShare, 10), "-sessions", strconv.Itoa(p.sessions)}
		},
		work: func(p place) []string {
			args := []string{"read"}
			for i := range parts {
				args = append(args, p.at(fmt.Sprintf(partName, i)))
			}
			return args
		},
	}
	w.check = w.work
	return w
}

func random(size, threads int, links []string, quick bool) workload {
	n, t := strconv.Itoa(size), strconv.Itoa(threads)
	return workload{
		name: fmt.Sprintf("random %d KiB, %d threads", size>>10, threads), unit: perSecond, tool: byFio, links: links, quick: quick,
		raw: func(p place) []string {
			sessions := min(p.sessions, threads)
			return []string{"ranges", "-file", bigFile, "-size", p.bytes(), "-n", n,
				"-sessions", strconv.Itoa(sessions), "-depth", strconv.Itoa(threads / sessions)}
		},
		work: func(p place) []string {
			return []string{"--filename=" + p.at(bigFile), "--rw=randread", "--bs=" + n, "--numjobs=" + t}
		},
		check: func(p place) []string {
			return []string{"ranges", "-n", n, "-threads", t, "-count", "2000", p.at(bigFile)}
		},
	}
}

func strided(links []string) workload {
	const n, stride = "131072", "1048576"
	w := workload{
		name: "strided, 128 KiB of each MiB", unit: perSecond, links: links,
		raw: func(p place) []string {
			return []string{"ranges", "-file", bigFile, "-size", p.bytes(), "-n", n, "-stride", stride, "-sessions", strconv.Itoa(p.sessions)}
		},
		work: func(p place) []string { return []string{"ranges", "-n", n, "-stride", stride, p.at(bigFile)} },
	}
	w.check = w.work
	return w
}

func list(name, dir string, count int, links []string, quick bool) workload {
	return workload{
		name: name, unit: seconds, links: links, quick: quick,
		raw:   func(place) []string { return []string{"list", "-dir", dir} },
		work:  func(p place) []string { return []string{"run", "-count", strconv.Itoa(count), "ls", "-l", p.at(dir)} },
		check: func(p place) []string { return []string{"names", p.at(dir)} },
	}
}

func small(name string, threads int, shuffle bool, links []string, quick bool) workload {
	w := workload{
		name: name, unit: perSecond, links: links, quick: quick,
		raw: func(p place) []string {
			return []string{"files", "-dir", smallDir, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
		},
		work: func(p place) []string {
			return []string{"files", "-n", "65536", "-threads", strconv.Itoa(threads), "-shuffle=" + strconv.FormatBool(shuffle), p.at(smallDir)}
		},
	}
	w.check = w.work
	return w
}

// again is a workload whose second run on the same mount counts.
func again(w workload) workload {
	w.warm = true
	return w
}

func tar(links []string) workload {
	return workload{
		name: "tar of a tree", unit: perSecond, links: links,
		raw: func(p place) []string {
			return []string{"tree", "-dir", treeDir, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
		},
		work: func(p place) []string {
			return []string{"run", "-count", strconv.Itoa(smallCount), "tar", "-C", p.dir, "-cf", "-", treeDir}
		},
		check: func(p place) []string { return []string{"tree", "-n", "65536", p.at(treeDir)} },
	}
}

func put(name string, threads int, links []string) workload {
	count, n := strconv.Itoa(smallCount), strconv.Itoa(smallSize)
	return workload{
		name: name, unit: perSecond, writes: true, links: links,
		raw: func(p place) []string {
			return []string{"put", "-dir", outDir, "-count", count, "-n", n, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
		},
		work: func(p place) []string {
			return []string{"put", "-count", count, "-n", n, "-threads", strconv.Itoa(threads), p.at(outDir)}
		},
	}
}
