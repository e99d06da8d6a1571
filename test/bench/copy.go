package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// copier is a program that copies to and from the server instead of mounting it.
type copier struct {
	title string
	lack  string // why it is not there, or ""
	// command is the program up to its operands.
	command func(r *rig) []string
	scheme  string // of its URLs
}

func (c copier) name() string    { return c.title }
func (c copier) writes() bool    { return true }
func (c copier) missing() string { return c.lack }

// mount gives what a copier needs to know. Nothing is mounted.
func (c copier) mount(_ context.Context, r *rig, _ string) (*mounted, error) {
	user := uftptest.DefaultUser()
	return &mounted{
		env: []string{"UFTP_USER=" + user.Name, "UFTP_PASSWORD=" + user.Password},
		copy: func(from, to string) []string {
			return append(c.command(r), c.operand(r, from), c.operand(r, to))
		},
	}, nil
}

// remote begins the names of operands on the server.
const remote = "remote:"

func (c copier) operand(r *rig, name string) string {
	path, ok := strings.CutPrefix(name, remote)
	if !ok {
		return name
	}
	return strings.Replace(r.login.AuthURL, "https://", c.scheme+"://", 1) + ":" + filepath.Join(r.path(dataDir), path)
}

func copiers() []subject {
	pyuftp := filepath.Join(os.Getenv("UFTP_PYCLIENTS"), "bin", "pyuftp")
	lack := ""
	if _, err := os.Stat(pyuftp); err != nil {
		lack = "there is no virtual environment with it ($UFTP_PYCLIENTS)"
	}
	threads := func(r *rig) string { return strconv.Itoa(r.link.Sessions) }
	return []subject{
		copier{title: productName + " cp", scheme: "uftp", command: func(r *rig) []string {
			return []string{r.product, "cp", "-r", "--progress=none", "--ca-file", r.login.CAFile, "--parallel", threads(r)}
		}},
		copier{title: "pyuftp cp", lack: lack, scheme: "https", command: func(r *rig) []string {
			return []string{pyuftp, "cp", "-P", "-r", "-t", threads(r)}
		}},
	}
}

// copied is the directory that has the copy when it is done.
func (w workload) copied(r *rig) string {
	if w.writes {
		return r.path(dataDir, outDir)
	}
	return r.path(copyDir)
}

// copying are the workloads of copiers.
func copying(links []string) []workload {
	count, n := strconv.Itoa(heapCount), strconv.Itoa(smallSize)
	run := func(p place, ops, bytes int64, from, to string) []string {
		return append([]string{"run", "-count", strconv.FormatInt(ops, 10), "-size", strconv.FormatInt(bytes, 10)}, p.copy(from, to)...)
	}
	all := []workload{
		{
			name: "cp, download of a file", unit: megabytes,
			// It writes what it reads to a file, as a copy must.
			raw: func(p place) []string {
				return append(readWhole(workload{}).raw(p), "-to", filepath.Join(p.local, "raw"))
			},
			work: func(p place) []string { return run(p, 1, p.size, remote+bigFile, p.local) },
		},
		{
			name: "cp, upload of a file", unit: megabytes, writes: true,
			raw: func(p place) []string {
				return []string{"write", "-file", outDir + "/raw", "-size", p.bytes(), "-sessions", strconv.Itoa(p.sessions)}
			},
			work: func(p place) []string { return run(p, 1, p.size, p.source(bigFile), remote+outDir+"/") },
		},
		{
			name: "cp, download of 10,000 files", unit: perSecond,
			raw: func(p place) []string {
				return []string{"files", "-dir", heapDir, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
			},
			work: func(p place) []string { return run(p, heapCount, heapCount*smallSize, remote+heapDir, p.local) },
		},
		{
			name: "cp, upload of 10,000 files", unit: perSecond, writes: true,
			raw: func(p place) []string {
				return []string{"put", "-dir", outDir, "-count", count, "-n", n, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
			},
			work: func(p place) []string {
				return run(p, heapCount, heapCount*smallSize, p.source(heapDir), remote+outDir+"/")
			},
		},
	}
	for i := range all {
		all[i].links, all[i].copies = links, true
		// What was copied is read again where it came to.
		all[i].check = func(p place) []string { return []string{"tree", p.local} }
		if all[i].writes {
			all[i].check = func(p place) []string { return []string{"tree", p.source(outDir)} }
		}
	}
	return all
}
