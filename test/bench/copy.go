package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// copier is a program that copies to and from the server instead of mounting it.
type copier struct {
	title string
	lack  string // why it is not there, or ""
	// command is the program up to its operands.
	command func(r *rig) []string
	scheme  string // of its URLs
	// flat says that a directory is copied by a pattern for what is in it, to a
	// directory that is there.
	flat bool
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
			if c.flat && strings.HasSuffix(from, heapDir) {
				from, to = from+"/*", path.Join(to, heapDir)+"/"
				c.makeDir(r, to)
			}
			return append(c.command(r), c.operand(r, from), c.operand(r, to))
		},
	}, nil
}

// makeDir makes a directory that others may write to. Should it not be there, the
// copy fails.
func (c copier) makeDir(r *rig, name string) {
	if below, ok := strings.CutPrefix(name, remote); ok {
		name = r.path(dataDir, below)
	}
	_ = errors.Join(os.MkdirAll(name, 0o777), os.Chmod(name, 0o777))
}

// remote begins the names of operands on the server.
const remote = "remote:"

func (c copier) operand(r *rig, name string) string {
	below, ok := strings.CutPrefix(name, remote)
	if !ok {
		return name
	}
	slash := ""
	if strings.HasSuffix(below, "/") {
		slash = "/"
	}
	return strings.Replace(r.login.AuthURL, "https://", c.scheme+"://", 1) + ":" + filepath.Join(r.path(dataDir), below) + slash
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
		copier{title: "pyuftp cp", lack: lack, scheme: "https", flat: true, command: func(r *rig) []string {
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

// patience is how long a subject may take. Of 10,000 files all are copied, however
// slowly.
func (w workload) patience() time.Duration {
	if w.copies > 1 {
		return 5 * cellTimeout
	}
	return cellTimeout
}

// countCopies fails if there are fewer copies than there should be: a program may
// copy nothing and call it a success.
func (w workload) countCopies(r *rig) error {
	n := 0
	err := filepath.WalkDir(w.copied(r), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err == nil && n != w.copies {
		err = fmt.Errorf("%d files were copied, not %d", n, w.copies)
	}
	return err
}

// copying are the workloads of copiers. One file is copied over more links.
func copying(links []string, more ...string) []workload {
	count, n := strconv.Itoa(heapCount), strconv.Itoa(smallSize)
	run := func(p place, ops, bytes int64, from, to string) []string {
		return append([]string{"run", "-count", strconv.FormatInt(ops, 10), "-size", strconv.FormatInt(bytes, 10)}, p.copy(from, to)...)
	}
	all := []workload{
		{
			name: "cp, download of a file", unit: megabytes, copies: 1,
			// It writes what it reads to a file, as a copy must.
			raw: func(p place) []string {
				return append(readWhole(workload{}).raw(p), "-to", filepath.Join(p.local, "raw"))
			},
			work: func(p place) []string { return run(p, 1, p.size, remote+bigFile, p.local) },
		},
		{
			name: "cp, upload of a file", unit: megabytes, writes: true, copies: 1,
			raw: func(p place) []string {
				return []string{"write", "-file", outDir + "/raw", "-size", p.bytes(), "-sessions", strconv.Itoa(p.sessions)}
			},
			work: func(p place) []string { return run(p, 1, p.size, p.source(bigFile), remote+outDir+"/") },
		},
		{
			name: "cp, download of 10,000 files", unit: perSecond, copies: heapCount,
			raw: func(p place) []string {
				return []string{"files", "-dir", heapDir, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
			},
			work: func(p place) []string { return run(p, heapCount, heapCount*smallSize, remote+heapDir, p.local) },
		},
		{
			name: "cp, upload of 10,000 files", unit: perSecond, writes: true, copies: heapCount,
			raw: func(p place) []string {
				return []string{"put", "-dir", outDir, "-count", count, "-n", n, "-sessions", strconv.Itoa(p.sessions), "-depth", "256"}
			},
			work: func(p place) []string {
				return run(p, heapCount, heapCount*smallSize, p.source(heapDir), remote+outDir+"/")
			},
		},
	}
	for i := range all {
		all[i].links = links
		if all[i].copies == 1 {
			all[i].links = append(more, links...)
		}
		// What was copied is read again where it came to.
		all[i].check = func(p place) []string { return []string{"tree", p.local} }
		if all[i].writes {
			all[i].check = func(p place) []string { return []string{"tree", p.source(outDir)} }
		}
	}
	return all
}
