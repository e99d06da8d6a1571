package fusefs_test

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// TestConcurrentRequests sends requests side by side that a kernel would keep
// apart. Nothing may hang or be left, and the inode table must be sound at any time.
func TestConcurrentRequests(t *testing.T) {
	r := newRaw(t, func(c *fusefs.Config) {
		c.Spec.AttrTimeout, c.Spec.EntryTimeout = 10*time.Millisecond, 10*time.Millisecond
		c.WriteBackDelay = time.Millisecond
		c.Spec.DirtyLimit = 1 << 20
	})
	dirs := []uint64{fuse.FUSE_ROOT_ID}
	for _, name := range []string{"a", "b"} {
		var out fuse.EntryOut
		if st := r.Mkdir(nil, &fuse.MkdirIn{InHeader: header(1), Mode: 0o755}, name, &out); !st.Ok() {
			t.Fatal(st)
		}
		dirs = append(dirs, out.NodeId)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			c := &requester{raw: r, rnd: rand.New(rand.NewPCG(uint64(g), 3)), dirs: dirs}
			for i := range 400 {
				c.step()
				if i%10 == 0 {
					c.check()
				}
			}
			c.leave()
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(2 * time.Minute):
		t.Fatal("requests hang")
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	for i, want := range []string{"", "a", "b"} {
		if got, ok := fusefs.PathOf(r.FS, dirs[i]); got != want || !ok {
			t.Errorf("node %d is %q, want %q", dirs[i], got, want)
		}
	}
	r.Forget(dirs[1], 1)
	r.Forget(dirs[2], 1)
	eventually(t, "everything forgotten", func() bool {
		st := r.Stats()
		return st.Nodes == 1 && st.Handles == 0 && st.Spool.Files == 0
	})
	if err := fusefs.CheckTree(r.FS); err != nil {
		t.Error(err)
	}
	err := filepath.WalkDir(r.remote.root, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, ".uftp-hidden-") {
			t.Errorf("left on the server: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// requester is a kernel's side: it keeps account of what it was told.
type requester struct {
	*raw
	rnd   *rand.Rand
	dirs  []uint64
	nodes []uint64                 // one lookup each
	files []struct{ n, fh uint64 } // one lookup and one handle each
}

func (c *requester) check() {
	if err := fusefs.CheckTree(c.FS); err != nil {
		c.t.Error(err)
	}
}

func (c *requester) dir() uint64 { return c.dirs[c.rnd.IntN(len(c.dirs))] }

func (c *requester) name() string { return string(rune('p' + c.rnd.IntN(4))) }

func (c *requester) step() {
	h := header(c.dir())
	var entry fuse.EntryOut
	var attr fuse.AttrOut
	switch c.rnd.IntN(12) {
	case 0, 1:
		if c.Lookup(nil, &h, c.name(), &entry).Ok() {
			c.nodes = append(c.nodes, entry.NodeId)
		}
	case 2, 3:
		var out fuse.CreateOut
		if c.Create(nil, &fuse.CreateIn{InHeader: h, Flags: syscall.O_RDWR, Mode: 0o644}, c.name(), &out).Ok() {
			c.files = append(c.files, struct{ n, fh uint64 }{out.NodeId, out.Fh})
		}
	case 4:
		if c.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, c.name(), &entry).Ok() {
			c.nodes = append(c.nodes, entry.NodeId)
		}
	case 5:
		c.Unlink(nil, &h, c.name())
	case 6:
		c.Rmdir(nil, &h, c.name())
	case 7:
		c.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: c.dir()}, c.name(), c.name())
	case 8:
		c.list(h)
	case 9:
		if len(c.nodes) > 0 {
			n := c.nodes[c.rnd.IntN(len(c.nodes))]
			c.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(n)}, &attr)
			in := fuse.SetAttrIn{}
			in.NodeId, in.Valid, in.Mode = n, fuse.FATTR_MODE, 0o755
			if c.rnd.IntN(2) == 0 {
				in.Valid, in.Size = fuse.FATTR_SIZE, c.rnd.Uint64N(100_000)
			}
			c.SetAttr(nil, &in, &attr)
		}
	default:
		c.useFile()
	}
	if len(c.nodes) > 10 {
		c.Forget(c.nodes[0], 1)
		c.nodes = c.nodes[1:]
	}
}

func (c *requester) useFile() {
	if len(c.files) == 0 {
		return
	}
	f := c.files[0]
	off := c.rnd.Uint64N(100_000)
	data := make([]byte, c.rnd.IntN(50_000))
	c.Write(nil, &fuse.WriteIn{InHeader: header(f.n), Fh: f.fh, Offset: off}, data)
	c.read(nil, f.n, f.fh)
	c.Flush(nil, &fuse.FlushIn{InHeader: header(f.n), Fh: f.fh})
	if c.rnd.IntN(2) == 0 {
		c.closeFile()
	}
}

func (c *requester) closeFile() {
	f := c.files[0]
	c.files = c.files[1:]
	c.Release(nil, &fuse.ReleaseIn{InHeader: header(f.n), Fh: f.fh})
	c.Forget(f.n, 1)
}

// list reads a directory with attributes, as many as fit.
func (c *requester) list(h fuse.InHeader) {
	var out fuse.OpenOut
	if !c.OpenDir(nil, &fuse.OpenIn{InHeader: h}, &out).Ok() {
		return
	}
	defer c.ReleaseDir(&fuse.ReleaseIn{InHeader: h, Fh: out.Fh})
	buf := make([]byte, 4096)
	l := fuse.NewDirEntryList(buf, 0)
	if !c.ReadDirPlus(nil, &fuse.ReadIn{InHeader: h, Fh: out.Fh}, l).Ok() {
		return
	}
	_, entries, err := fuse.ParseDirLookupEntries(l.Bytes())
	if err != nil {
		c.t.Error(err)
	}
	for _, e := range entries {
		if e.NodeId != 0 {
			c.nodes = append(c.nodes, e.NodeId)
		}
	}
}

func (c *requester) leave() {
	for len(c.files) > 0 {
		c.closeFile()
	}
	for _, n := range c.nodes {
		c.Forget(n, 1)
	}
}
