package fusefs_test

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

const wide, long = 6, 5 // directories in each, and files in the last ones

// mountTree mounts a server with directories dI/dJ that have files, believed for
// valid, and returns what is listed and read there from then on.
func mountTree(t *testing.T, valid time.Duration) (m *mounted, asked *paths) {
	t.Helper()
	m = mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = valid, valid })
	for i := range wide {
		mkdir(t, m.served(fmt.Sprintf("d%d", i)))
		for j := range wide {
			dir := fmt.Sprintf("d%d/d%d", i, j)
			mkdir(t, m.served(dir))
			for k := range long {
				f := fmt.Sprintf("%s/f%d", dir, k)
				write(t, m.served(f), "content of "+f)
				age(t, m.served(f), time.Hour)
			}
		}
	}
	asked = &paths{of: make(map[string][]string)}
	m.remote.setFault(asked.note)
	return m, asked
}

// paths are those of each operation.
type paths struct {
	mu sync.Mutex
	of map[string][]string
}

func (p *paths) note(_ context.Context, op, file string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of[op] = append(p.of[op], file)
	return nil
}

// count returns how often op was done to one of files.
func (p *paths) count(op string, files ...string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.of[op] {
		if slices.Contains(files, f) {
			n++
		}
	}
	return n
}

// walk reads directories and the files in them, with each as deep as it is.
func (m *mounted) walk(t *testing.T, read bool, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for _, name := range names(t, m.path(dir)) {
			if f := path.Join(dir, name); read && strings.HasPrefix(name, "f") {
				wantFile(t, m.path(f), "content of "+f)
			}
		}
	}
}

// TestListsAhead: who goes through a tree finds the next directories listed, with what
// is below them, and each is listed once.
func TestListsAhead(t *testing.T) {
	m, asked := mountTree(t, time.Hour)
	m.walk(t, false, "", "d0", "d0/d0", "d0/d1", "d0/d2")
	eventually(t, "the last directory beside is listed", func() bool { return asked.count("list", "d0/d5") == 1 })
	m.walk(t, false, "d0/d3", "d0/d4", "d0/d5", "d1", "d1/d0")
	eventually(t, "what is in the next directory is listed", func() bool { return asked.count("list", "d2", "d2/d0") == 2 })
	for i := 1; i < wide; i++ {
		m.walk(t, false, fmt.Sprintf("d%d", i))
		for j := range wide {
			m.walk(t, false, fmt.Sprintf("d%d/d%d", i, j))
		}
	}
	if n := asked.count("list", "d2/d0", "d3", "d3/d3", "d4", "d4/d4", "d5", "d5/d5"); n > 9 { // two were read as listed
		t.Errorf("seven directories were listed %d times", n)
	}
	if n := asked.count("read", "d0/d0/f0", "d3/d3/f0", "d5/d5/f0"); n > 0 {
		t.Errorf("files of directories were read, and nobody opened any")
	}
}

// TestReadsAheadInTheNext: where files of directories are read, those of the next ones
// are, too.
func TestReadsAheadInTheNext(t *testing.T) {
	m, asked := mountTree(t, time.Hour)
	m.walk(t, true, "", "d0", "d0/d0", "d0/d1", "d0/d2")
	eventually(t, "the files of a directory that nobody has read are read", func() bool {
		return asked.count("read", "d0/d5/f0", "d0/d5/f4") == 2
	})
	m.walk(t, true, "d0/d3", "d0/d4", "d0/d5")
	if n := asked.count("read", "d0/d5/f0", "d0/d5/f4"); n != 2 {
		t.Errorf("two files were read %d times", n)
	}
}

// TestListingAheadIsNoLonger: what was listed ahead is good for one reader, shows what
// we did since, and what others did after a while.
func TestListingAheadIsNoLonger(t *testing.T) {
	for name, tc := range map[string]struct {
		valid  time.Duration
		change func(*testing.T, *mounted)
	}{
		"ours":    {time.Hour, func(t *testing.T, m *mounted) { write(t, m.path("d0/d5/new"), "new") }},
		"removed": {time.Hour, func(t *testing.T, m *mounted) { remove(t, m.path("d0/d5/f0")) }},
		"read":    {time.Hour, func(t *testing.T, m *mounted) { names(t, m.path("d0/d5")); write(t, m.served("d0/d5/new"), "new") }},
		"old":     {300 * time.Millisecond, func(t *testing.T, m *mounted) { write(t, m.served("d0/d5/new"), "new") }},
	} {
		t.Run(name, func(t *testing.T) {
			m, asked := mountTree(t, tc.valid)
			m.walk(t, false, "", "d0", "d0/d0", "d0/d1", "d0/d2")
			eventually(t, "it is listed ahead", func() bool { return asked.count("list", "d0/d5") > 0 })
			learned := time.Now()
			tc.change(t, m)
			if tc.valid < time.Hour {
				eventually(t, "time passes", func() bool { return time.Since(learned) > tc.valid })
			}
			want := names(t, m.served("d0/d5"))
			if got := names(t, m.path("d0/d5")); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// TestNoWalk: who reads one directory here and one there has none listed in vain.
func TestNoWalk(t *testing.T) {
	m, asked := mountTree(t, time.Hour)
	dirs := []string{"", "d5", "d5/d5", "d1", "d1/d0"}
	m.walk(t, true, dirs...)
	if n := asked.count("list", "d0", "d2", "d3", "d4", "d1/d1", "d5/d0"); n > 0 {
		t.Errorf("%d directories were listed that nobody read", n)
	}
}

// TestReadsLater: who lists a whole tree first, and opens its files long after, finds
// those of the next directories read then, and no more of them with the listings.
func TestReadsLater(t *testing.T) {
	const valid = time.Second
	m, asked := mountTree(t, valid)
	group := func(i int) (dirs []string) {
		for j := range wide {
			dirs = append(dirs, fmt.Sprintf("d%d/d%d", i, j))
		}
		return dirs
	}
	m.walk(t, true, "", "d0") // reads files of what it lists
	m.walk(t, true, group(0)...)
	m.walk(t, false, "d1", "d2", "d3")
	for i := 1; i <= 3; i++ {
		m.walk(t, false, group(i)...)
		for _, dir := range group(i) {
			m.look(t, dir)
		}
	}
	listed := time.Now()
	eventually(t, "nothing is believed any more", func() bool { return time.Since(listed) > valid })

	last := []string{"d1/d5/f0", "d1/d5/f4"}
	before := asked.count("read", last...)
	m.open(t, group(1)[:3]...)
	eventually(t, "the files of a directory that nobody has opened are read", func() bool { return asked.count("read", last...) == before+2 })
	read := time.Now()
	m.open(t, group(1)[3:]...)
	if n := asked.count("read", last...) - before; n > 2 && time.Since(read) < valid/2 {
		t.Errorf("two files were read %d times", n)
	}
	// The first directory of another group is enough.
	before = asked.count("read", "d2/d3/f0")
	m.open(t, "d2/d0")
	eventually(t, "those of the next group are read", func() bool { return asked.count("read", "d2/d3/f0") > before })

	asks := asked.count("read", "d4/d4/f0", "d4/d5/f0")
	m.walk(t, false, "d4")
	m.walk(t, false, group(4)...)
	listed = time.Now()
	eventually(t, "what would be read is read", func() bool { return time.Since(listed) > valid/4 })
	if n := asked.count("read", "d4/d4/f0", "d4/d5/f0") - asks; n > 0 {
		t.Errorf("%d files were read as soon as they were listed", n)
	}
}

// look asks what the files of a directory are, as they are listed.
func (m *mounted) look(t *testing.T, dir string) {
	t.Helper()
	for k := range long {
		if _, err := os.Stat(m.path(fmt.Sprintf("%s/f%d", dir, k))); err != nil {
			t.Fatal(err)
		}
	}
}

// open reads the files of directories, whose names it knows.
func (m *mounted) open(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for k := range long {
			f := fmt.Sprintf("%s/f%d", dir, k)
			wantFile(t, m.path(f), "content of "+f)
		}
	}
}
