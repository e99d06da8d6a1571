package fusefs_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// mountKnown is mountSmall, when the kernel knows all names and believes in them
// no longer.
func mountKnown(t *testing.T) (*mounted, *calls) {
	t.Helper()
	const valid = 500 * time.Millisecond
	m, c := mountSmall(t, valid)
	listed := time.Now()
	eventually(t, "names are no longer believed", func() bool { return time.Since(listed) > valid })
	return m, c
}

// TestForesight: the name and the content of a small file are one question, where
// files are opened in no order.
func TestForesight(t *testing.T) {
	m, c := mountKnown(t)
	once := 0
	files := rand.New(rand.NewPCG(3, 4)).Perm(smallFiles)[:40]
	for _, i := range files {
		m.readSmall(t, i)
		switch n := c.of(smallName(i)); {
		case n == 1:
			once++
		case n > 3:
			t.Errorf("file %d: %d calls", i, n)
		}
	}
	// The first one is what shows how files are opened; others may find the machine
	// so busy that what they learned is too old.
	if once < len(files)/4 {
		t.Errorf("%d of %d files were asked about once", once, len(files))
	}
}

// TestForesightEnds: who looks at files and opens none has few of them read.
func TestForesightEnds(t *testing.T) {
	m, c := mountKnown(t)
	const opened = 5
	for i := range opened {
		m.readSmall(t, i*20)
	}
	before := m.fs.Stats().Cache.FetchedBytes
	for i := 1; i < smallFiles; i += 2 {
		if fi, err := os.Stat(m.path("d/" + smallName(i))); err != nil || fi.Size() == 0 {
			t.Fatal(err)
		}
		if c.of(smallName(i)) == 0 {
			t.Fatalf("file %d was not looked at", i)
		}
	}
	size := int64(len("content of " + smallName(0)))
	if more := m.fs.Stats().Cache.FetchedBytes - before; more > opened*size {
		t.Errorf("%d bytes read in vain, want no more than %d", more, opened*size)
	}
}

// TestForesightSeesChanges: an open sees what others closed before, also a file
// that was looked at and read just then.
func TestForesightSeesChanges(t *testing.T) {
	m, _ := mountKnown(t)
	for i := range 5 {
		m.readSmall(t, i*20)
	}
	name := "d/" + smallName(333)
	if _, err := os.Stat(m.path(name)); err != nil {
		t.Fatal(err)
	}
	looked := time.Now()
	write(t, m.served(name), "another content")
	eventually(t, "the lookup is some time ago", func() bool { return time.Since(looked) > 60*time.Millisecond })
	wantFile(t, m.path(name), "another content")
}
