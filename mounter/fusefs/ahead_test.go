package fusefs_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// calls notes the files that a remote was asked about or for.
type calls struct {
	mu    sync.Mutex
	paths []string
}

func (c *calls) note(_ context.Context, op, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "read" || op == "stat" {
		c.paths = append(c.paths, path.Base(file))
	}
	return nil
}

// of returns how often somebody asked about or for a file.
func (c *calls) of(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.paths {
		if p == name {
			n++
		}
	}
	return n
}

const smallFiles = 400

func smallName(i int) string { return fmt.Sprintf("f%04d", i) }

// mountSmall mounts a server with many small files in the directory d, lists it,
// and notes calls from then on.
func mountSmall(t *testing.T, attrTimeout time.Duration) (*mounted, *calls) {
	t.Helper()
	m := mountDir(t, func(c *fusefs.Config) {
		c.Spec.AttrTimeout, c.Spec.EntryTimeout = attrTimeout, attrTimeout
	})
	mkdir(t, m.served("d"))
	for i := range smallFiles {
		write(t, m.served("d/"+smallName(i)), "content of "+smallName(i))
		age(t, m.served("d/"+smallName(i)), time.Hour)
	}
	if got := len(names(t, m.path("d"))); got != smallFiles {
		t.Fatalf("%d names, want %d", got, smallFiles)
	}
	c := &calls{}
	m.remote.setFault(c.note)
	return m, c
}

func (m *mounted) readSmall(t *testing.T, files ...int) {
	t.Helper()
	for _, i := range files {
		wantFile(t, m.path("d/"+smallName(i)), "content of "+smallName(i))
	}
}

// TestReadsAhead: who opens files in the order of their listing finds the next
// ones read, and nothing is asked then.
func TestReadsAhead(t *testing.T) {
	m, c := mountSmall(t, time.Hour)
	m.readSmall(t, 0, 1, 2, 3)
	eventually(t, "the next files are read ahead", func() bool { return c.of(smallName(4)) > 0 && c.of(smallName(10)) > 0 })
	eventually(t, "reading ahead ends", func() bool { return m.fs.Stats().Cache.Flights == 0 })
	before := c.of(smallName(4))
	m.readSmall(t, 4)
	if after := c.of(smallName(4)); after != before {
		t.Errorf("%d calls about a file that was read ahead, %d before it was opened", after, before)
	}
	for i := 5; i < smallFiles; i++ {
		m.readSmall(t, i)
	}
}

// TestReadsAheadByInode: who opens files in the order of their inode numbers, as
// cp -r does, finds the next ones read, too.
func TestReadsAheadByInode(t *testing.T) {
	m, c := mountSmall(t, time.Hour)
	files, inos := make([]int, smallFiles), make([]uint64, smallFiles)
	for i := range files {
		files[i] = i
		var st syscall.Stat_t
		if err := syscall.Stat(m.path("d/"+smallName(i)), &st); err != nil {
			t.Fatal(err)
		}
		inos[i] = st.Ino
	}
	slices.SortFunc(files, func(a, b int) int { return cmp.Compare(inos[a], inos[b]) })
	m.readSmall(t, files[:6]...)
	next := smallName(files[6])
	eventually(t, "the next files are read ahead", func() bool { return c.of(next) > 0 && c.of(smallName(files[9])) > 0 })
	eventually(t, "reading ahead ends", func() bool { return m.fs.Stats().Cache.Flights == 0 })
	before := c.of(next)
	m.readSmall(t, files[6])
	if after := c.of(next); after != before {
		t.Errorf("%d calls about a file that was read ahead, %d before it was opened", after, before)
	}
	m.readSmall(t, files[7:]...)
}

// TestRandomOpenerReadsNothingAhead: what is not opened is not read.
func TestRandomOpenerReadsNothingAhead(t *testing.T) {
	m, c := mountSmall(t, time.Hour)
	opened := []int{350, 20, 180, 90, 300, 5, 250, 60}
	m.readSmall(t, opened...)
	for i := range smallFiles {
		if n := c.of(smallName(i)); n > 0 && !slices.Contains(opened, i) {
			t.Errorf("file %d was read, and never opened", i)
		}
	}
}

// TestReadAheadIsGoodForOneOpen: the next one sees what others changed, and so
// does the first if what was learned ahead is too old.
func TestReadAheadIsGoodForOneOpen(t *testing.T) {
	const valid = 200 * time.Millisecond
	for name, opens := range map[string]int{"old": 0, "second": 1} {
		t.Run(name, func(t *testing.T) {
			attrTimeout := time.Hour
			if opens == 0 {
				attrTimeout = valid
			}
			m, c := mountSmall(t, attrTimeout)
			m.readSmall(t, 0, 1, 2, 3)
			eventually(t, "the file is read ahead", func() bool { return c.of(smallName(6)) > 0 })
			eventually(t, "reading ahead ends", func() bool { return m.fs.Stats().Cache.Flights == 0 })
			learned := time.Now()
			for range opens {
				m.readSmall(t, 6)
			}
			f := m.served("d/" + smallName(6))
			if err := os.WriteFile(f, []byte("changed"), 0o600); err != nil {
				t.Fatal(err)
			}
			eventually(t, "time passes", func() bool { return time.Since(learned) > valid })
			wantFile(t, m.path("d/"+smallName(6)), "changed")
		})
	}
}

// TestCreateBelievesTheLookup: the kernel looks a name up before it creates it,
// and nobody asks for it twice.
func TestCreateBelievesTheLookup(t *testing.T) {
	m := mountDir(t, nil)
	c := &calls{}
	m.remote.setFault(c.note)
	for i := range 20 {
		write(t, m.path(smallName(i)), "new")
	}
	asked := 0
	for i := range 20 {
		asked += c.of(smallName(i)) // one before it is made, one after
	}
	if asked > 20*2+10 {
		t.Errorf("%d questions about 20 new files", asked)
	}
}

// TestNewFilesDoNotAskForTheirDirectory: what we change ourselves we need not ask
// for.
func TestNewFilesDoNotAskForTheirDirectory(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = time.Hour, time.Hour })
	mkdir(t, m.served("d"))
	age(t, m.served("d"), time.Hour)
	before, err := os.Stat(m.path("d"))
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{}
	m.remote.setFault(c.note)
	for i := range 10 {
		write(t, m.path("d/"+smallName(i)), "x")
	}
	if err := os.Remove(m.path("d/" + smallName(3))); err != nil {
		t.Fatal(err)
	}
	if n := c.of("d"); n > 0 {
		t.Errorf("the directory was asked for %d times", n)
	}
	after, err := os.Stat(m.path("d"))
	if err != nil || !after.ModTime().After(before.ModTime().Add(time.Minute)) {
		t.Errorf("the directory is of %v after changes, and was of %v before: %v", after.ModTime(), before.ModTime(), err)
	}
}
