package fusefs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// openRead opens a node for reading and returns what the kernel is told.
func (r *raw) openRead(node uint64) (*fuse.OpenOut, fuse.Status) {
	r.t.Helper()
	var out fuse.OpenOut
	st := r.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: syscall.O_RDONLY}, &out)
	return &out, st
}

// TestChangedUnderReader: a file that others change while it is read is another
// file from then on, and the reader is not told of the other one's size.
func TestChangedUnderReader(t *testing.T) {
	ask := map[string]func(r *raw, node uint64) fuse.Status{
		"open": func(r *raw, node uint64) fuse.Status {
			_, st := r.openRead(node)
			return st
		},
		"stat": func(r *raw, node uint64) fuse.Status {
			return r.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(node)}, &fuse.AttrOut{})
		},
		"lookup": func(r *raw, node uint64) fuse.Status {
			if r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId != node {
				return fuse.Status(syscall.ESTALE)
			}
			return fuse.OK
		},
		"list": func(r *raw, node uint64) fuse.Status {
			c := &requester{raw: r}
			c.list(header(fuse.FUSE_ROOT_ID))
			if len(c.nodes) != 1 || c.nodes[0] != node {
				return fuse.Status(syscall.ESTALE)
			}
			return fuse.OK
		},
	}
	for name, ask := range ask {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, nil)
			write(t, r.remote.root+"/f", "old")
			age(t, r.remote.root+"/f", time.Hour)
			old := r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId
			h, st := r.openRead(old)
			if !st.Ok() {
				t.Fatal(st)
			}
			write(t, r.remote.root+"/f", "newer")
			eventually(t, "it is another file", func() bool { return ask(r, old) == fuse.Status(syscall.ESTALE) })
			if got, st := r.read(nil, old, h.Fh); st != fuse.Status(syscall.ESTALE) {
				t.Errorf("the reader got %q, %v", got, st)
			}
			entry := r.lookup(fuse.FUSE_ROOT_ID, "f")
			if entry.NodeId == old || entry.Size != 5 {
				t.Errorf("node %d with %d bytes, want another than %d with 5", entry.NodeId, entry.Size, old)
			}
			h, st = r.openRead(entry.NodeId)
			if got, st2 := r.read(nil, entry.NodeId, h.Fh); got != "newer" {
				t.Errorf("read %q, %v, %v", got, st, st2)
			}
		})
	}
}

// TestChangedOpenedByMany: until the kernel has surely emptied its cache of a file
// that changed, nobody is told that he may use it.
func TestChangedOpenedByMany(t *testing.T) {
	r := newRaw(t, nil)
	write(t, r.remote.root+"/f", "old")
	age(t, r.remote.root+"/f", time.Hour)
	node := r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId
	keeps := func() bool {
		t.Helper()
		out, st := r.openRead(node)
		if !st.Ok() {
			t.Fatal(st)
		}
		r.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: out.Fh})
		return out.OpenFlags&fuse.FOPEN_KEEP_CACHE != 0
	}
	if keeps() || !keeps() {
		t.Error("the first open must empty the cache, and the second keep it")
	}
	write(t, r.remote.root+"/f", "newer")
	age(t, r.remote.root+"/f", time.Minute)
	for range 3 {
		if keeps() {
			t.Error("the cache of what was there before may be used")
		}
	}
}

// TestChangedIsReadOnce: what an open has learned and read of a file that others
// changed is not fetched again, unless there may have been another change of the
// same second.
func TestChangedIsReadOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		age  time.Duration // of the change
		most int64         // fetches of it
	}{"long ago": {time.Hour, 1}, "just now": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, nil)
			write(t, r.remote.root+"/f", "old")
			age(t, r.remote.root+"/f", 2*time.Hour)
			for _, content := range []string{"old", "newer", "newest"} {
				if content != "old" {
					write(t, r.remote.root+"/f", content)
					age(t, r.remote.root+"/f", tc.age)
				}
				node := r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId
				(&requester{raw: r}).list(header(fuse.FUSE_ROOT_ID)) // tells of the change
				before := r.Stats().Cache.Fetches
				out, st := r.openRead(node)
				if !st.Ok() {
					t.Fatal(st)
				}
				if got, st := r.read(nil, node, out.Fh); got != content {
					t.Errorf("read %q, %v, want %q", got, st, content)
				}
				r.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: out.Fh})
				if n := r.Stats().Cache.Fetches - before; n > tc.most || n == 0 {
					t.Errorf("%q was fetched %d times, want %d at most", content, n, tc.most)
				}
			}
		})
	}
}

// TestOpenTimeout: who opens a file to read it believes what is known for as long as
// he was told to; who opens it to write does not.
func TestOpenTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		flags   uint32
		asks    bool
	}{
		"asks":     {0, syscall.O_RDONLY, true},
		"believes": {time.Hour, syscall.O_RDONLY, false},
		"too old":  {time.Nanosecond, syscall.O_RDONLY, true},
		"writes":   {time.Hour, syscall.O_RDWR, true},
		"empties":  {time.Hour, syscall.O_RDONLY | syscall.O_TRUNC, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, func(c *fusefs.Config) { c.Spec.OpenTimeout = tc.timeout })
			write(t, r.remote.root+"/f", "content")
			node := r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId
			before := r.remote.calls.Load()
			var out fuse.OpenOut
			if st := r.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: tc.flags}, &out); !st.Ok() {
				t.Fatal(st)
			}
			if asked := r.remote.calls.Load() > before; asked != tc.asks {
				t.Errorf("asked is %v", asked)
			}
		})
	}
}

// TestReplacedUnderReaders: many open and read one file while it is replaced on
// the server all the time. Nobody sees two versions in one open file, nor the end
// of one where another's is.
func TestReplacedUnderReaders(t *testing.T) {
	for name, tc := range map[string]struct {
		passed, writers bool
		sizes           [3]int
	}{
		"passed through": {passed: true, sizes: [3]int{passedSize, passedSize + 1, passedSize + 2}},
		"cached":         {sizes: [3]int{passedSize, passedSize + 1, passedSize + 2}},
		// A size that changes elsewhere while the file is open to write here is
		// beyond what the kernel can do.
		"with writers": {passed: true, writers: true, sizes: [3]int{passedSize, passedSize, passedSize}},
	} {
		t.Run(name, func(t *testing.T) {
			m := mountPassed(t)
			if !tc.passed {
				eventually(t, "nobody has it open", func() bool { return m.backer.known.Load() == 0 })
				m.fs.PassThrough(refusing{})
			}
			s := &stress{stop: time.Now().Add(2 * time.Second)}
			for range 3 {
				s.again(t, "read", func(int) error { return readOne(m.path("f")) })
			}
			if tc.writers {
				s.again(t, "open to write", func(int) error {
					f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
					return errors.Join(err, f.Close())
				})
			}
			start := time.Now().Add(-48 * time.Hour)
			s.again(t, "change on the server", func(n int) error {
				v, tmp := n%3, m.served(".new")
				// No two have the same size and time: nobody could tell them apart.
				then := start.Add(time.Duration(n) * time.Second)
				err := os.WriteFile(tmp, []byte(text("abc"[v], tc.sizes[v])), 0o644)
				return errors.Join(err, os.Chtimes(tmp, then, then), os.Rename(tmp, m.served("f")))
			})
			s.group.Wait()
			t.Logf("%d times, %d stale, %+v", s.times.Load(), s.stale.Load(), m.fs.Stats().Passthrough)
		})
	}
}

// readOne reads a file that is all of one version.
func readOne(path string) error {
	b, err := os.ReadFile(path)
	if err == nil && (len(b) < passedSize || !bytes.Equal(b, bytes.Repeat(b[:1], len(b))) || len(b) > passedSize+2) {
		err = fmt.Errorf("%d bytes, not all the same: %s", len(b), runs(b))
	}
	return err
}

// runs says what b is made of.
func runs(b []byte) string {
	var s strings.Builder
	for len(b) > 0 && s.Len() < 200 {
		n := len(b) - len(bytes.TrimLeft(b, string(b[:1])))
		fmt.Fprintf(&s, "%d %q ", n, b[0])
		b = b[n:]
	}
	return s.String()
}

// stress does things side by side, again and again.
type stress struct {
	stop         time.Time
	group        sync.WaitGroup
	times, stale atomic.Int64
}

// again repeats f until it is time to stop. ESTALE is what may happen to it: the
// file changed while it was open, or twice while it was opened.
func (s *stress) again(t *testing.T, what string, f func(n int) error) {
	s.group.Go(func() {
		for n := 0; time.Now().Before(s.stop); n++ {
			s.times.Add(1)
			switch err := f(n); {
			case errors.Is(err, syscall.ESTALE):
				s.stale.Add(1)
			case err != nil:
				t.Errorf("%s: %v", what, err)
				return
			}
		}
	})
}

// TestTruncateToTheSizeKnown: a file that others have appended to since is cut, also
// to the size that it had, whether or not something waits to be uploaded.
func TestTruncateToTheSizeKnown(t *testing.T) {
	for name, data := range map[string]string{"clean": "", "dirty": "x"} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.WriteBackDelay = 0, time.Hour })
			write(t, r.remote.root+"/f", "0123456789")
			n := r.lookup(1, "f").NodeId
			fh := r.open(n)
			if _, st := r.Write(nil, &fuse.WriteIn{InHeader: header(n), Fh: fh}, []byte(data)); !st.Ok() {
				t.Fatal(st)
			}
			write(t, r.remote.root+"/f", "0123456789 and more")
			var in fuse.SetAttrIn
			in.NodeId, in.Valid, in.Size = n, fuse.FATTR_SIZE, 10
			var out fuse.AttrOut
			if st := r.SetAttr(nil, &in, &out); !st.Ok() {
				t.Fatal(st)
			}
			if out.Size != 10 {
				t.Errorf("shown are %d bytes", out.Size)
			}
			if st := r.Flush(nil, &fuse.FlushIn{InHeader: header(n), Fh: fh}); !st.Ok() {
				t.Errorf("close: %v", st)
			}
			wantFile(t, r.remote.root+"/f", data+"0123456789"[len(data):])
		})
	}
}
