package fusefs_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// raw is a file system without a kernel: the test sends the requests.
type raw struct {
	*fusefs.FS
	t      testing.TB
	remote *dirRemote
}

func newRaw(t testing.TB, change func(*fusefs.Config)) *raw {
	t.Helper()
	remote := &dirRemote{root: t.TempDir()}
	cfg := fusefs.Config{Remote: remote, Spec: testSpec(), InterruptGrace: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	f, err := fusefs.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &raw{f, t, remote}
}

func header(node uint64) fuse.InHeader { return fuse.InHeader{NodeId: node} }

func (r *raw) lookup(dir uint64, name string) *fuse.EntryOut {
	r.t.Helper()
	h := header(dir)
	var out fuse.EntryOut
	if st := r.Lookup(nil, &h, name, &out); !st.Ok() {
		r.t.Fatalf("lookup %s: %v", name, st)
	}
	return &out
}

func (r *raw) create(dir uint64, name string) *fuse.CreateOut {
	r.t.Helper()
	var out fuse.CreateOut
	in := fuse.CreateIn{InHeader: header(dir), Flags: syscall.O_RDWR, Mode: 0o644}
	if st := r.Create(nil, &in, name, &out); !st.Ok() {
		r.t.Fatalf("create %s: %v", name, st)
	}
	return &out
}

func (r *raw) open(node uint64) uint64 {
	r.t.Helper()
	var out fuse.OpenOut
	if st := r.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: syscall.O_RDWR}, &out); !st.Ok() {
		r.t.Fatalf("open: %v", st)
	}
	return out.Fh
}

// TestReadersAreNotFlushed: close of what was only read is not worth a request.
func TestReadersAreNotFlushed(t *testing.T) {
	r := newRaw(t, nil)
	node := r.create(fuse.FUSE_ROOT_ID, "f").NodeId
	for flags, want := range map[uint32]bool{syscall.O_RDONLY: true, syscall.O_WRONLY: false, syscall.O_RDWR: false} {
		var out fuse.OpenOut
		if st := r.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: flags}, &out); !st.Ok() {
			t.Fatal(st)
		}
		if got := out.OpenFlags&fuse.FOPEN_NOFLUSH != 0; got != want {
			t.Errorf("opened with %#o: not flushed %v, want %v", flags, got, want)
		}
	}
}

func (r *raw) read(cancel <-chan struct{}, node, fh uint64) (string, fuse.Status) {
	buf := make([]byte, 4096)
	res, st := r.Read(cancel, &fuse.ReadIn{InHeader: header(node), Fh: fh, Size: 4096}, buf)
	if !st.Ok() {
		return "", st
	}
	b, st := res.Bytes(buf)
	return string(b), st
}

// stall blocks some operations until release is called or their context ends.
func (r *dirRemote) stall(ops string) (stalled <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 100), make(chan struct{})
	r.setFault(func(ctx context.Context, op, _ string) error {
		if !strings.Contains(ops, op) {
			return nil
		}
		in <- struct{}{}
		select {
		case <-out:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return in, sync.OnceFunc(func() { close(out) })
}

// TestInterruptedReader gives up; the one who waits for the same bytes gets them.
func TestInterruptedReader(t *testing.T) {
	r := newRaw(t, nil)
	write(t, r.remote.root+"/f", "content")
	n := r.lookup(1, "f").NodeId
	fh := r.open(n)
	stalled, release := r.remote.stall("read")
	defer release()
	patient := make(chan string)
	go func() {
		got, _ := r.read(nil, n, fh)
		patient <- got
	}()
	<-stalled
	interrupted := make(chan struct{})
	close(interrupted)
	if _, st := r.read(interrupted, n, fh); st != fuse.EINTR {
		t.Errorf("interrupted reader: %v, want EINTR", st)
	}
	release()
	if got := <-patient; got != "content" {
		t.Errorf("patient reader got %q", got)
	}
}

// TestHarmlessSignal: a request that ends soon does not notice.
func TestHarmlessSignal(t *testing.T) {
	r := newRaw(t, func(c *fusefs.Config) { c.InterruptGrace = time.Minute })
	write(t, r.remote.root+"/f", "content")
	n := r.lookup(1, "f").NodeId
	fh := r.open(n)
	interrupted := make(chan struct{})
	close(interrupted)
	if got, st := r.read(interrupted, n, fh); got != "content" || !st.Ok() {
		t.Errorf("read %q, %v", got, st)
	}
}

// TestInterruptedChange: what has begun is done to the end.
func TestInterruptedChange(t *testing.T) {
	r := newRaw(t, nil)
	stalled, release := r.remote.stall("mkdir write")
	defer release()
	interrupted := make(chan struct{})
	close(interrupted)
	result := make(chan fuse.Status, 1)
	go func() {
		var out fuse.EntryOut
		result <- r.Mkdir(interrupted, &fuse.MkdirIn{InHeader: header(1), Mode: 0o755}, "d", &out)
	}()
	<-stalled
	select {
	case st := <-result:
		t.Errorf("mkdir gave up: %v", st)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	if st := <-result; !st.Ok() {
		t.Errorf("mkdir: %v", st)
	}

	f := r.create(1, "f")
	_, st := r.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte("data"))
	if !st.Ok() {
		t.Fatal(st)
	}
	stalled, release = r.remote.stall("write")
	go func() { result <- r.Flush(interrupted, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}) }()
	<-stalled
	release()
	if st := <-result; !st.Ok() {
		t.Errorf("flush: %v", st)
	}
	wantFile(t, r.remote.root+"/f", "data")
}

// TestCloseEndsWaiting: what waits for a server when the file system is closed
// ends with an error.
func TestCloseEndsWaiting(t *testing.T) {
	r := newRaw(t, nil)
	write(t, r.remote.root+"/f", "content")
	n := r.lookup(1, "f").NodeId
	fh := r.open(n)
	stalled, release := r.remote.stall("read")
	defer release()
	result := make(chan fuse.Status)
	go func() {
		_, st := r.read(nil, n, fh)
		result <- st
	}()
	<-stalled
	r.Close()
	if st := <-result; st != fuse.EIO {
		t.Errorf("read: %v, want EIO", st)
	}
}

// TestUnknownIDs: numbers that nobody gave out are errors and not panics.
func TestUnknownIDs(t *testing.T) {
	r := newRaw(t, nil)
	var attr fuse.AttrOut
	var entry fuse.EntryOut
	h := header(99)
	if st := r.GetAttr(nil, &fuse.GetAttrIn{InHeader: h}, &attr); st != fuse.Status(syscall.ESTALE) {
		t.Errorf("getattr: %v", st)
	}
	if st := r.Lookup(nil, &h, "x", &entry); st != fuse.Status(syscall.ESTALE) {
		t.Errorf("lookup: %v", st)
	}
	if _, st := r.Read(nil, &fuse.ReadIn{InHeader: h, Fh: 99}, nil); st != fuse.EBADF {
		t.Errorf("read: %v", st)
	}
	if _, st := r.Write(nil, &fuse.WriteIn{InHeader: h, Fh: 99}, nil); st != fuse.EBADF {
		t.Errorf("write: %v", st)
	}
	if st := r.Flush(nil, &fuse.FlushIn{InHeader: h, Fh: 99}); st != fuse.EBADF {
		t.Errorf("flush: %v", st)
	}
	r.Forget(99, 1)
	r.Forget(1, 1)
	r.Release(nil, &fuse.ReleaseIn{InHeader: h, Fh: 99})
	r.ReleaseDir(&fuse.ReleaseIn{InHeader: h, Fh: 99})
}

// TestNodeIDs: none is used twice, forgotten ones are gone, and the inode number
// of a path stays.
func TestNodeIDs(t *testing.T) {
	r := newRaw(t, nil)
	write(t, r.remote.root+"/f", "")
	seen := map[uint64]bool{}
	var ino uint64
	for i := range 5 {
		e := r.lookup(1, "f")
		if seen[e.NodeId] {
			t.Fatalf("node id %d again", e.NodeId)
		}
		seen[e.NodeId] = true
		if i > 0 && e.Ino != ino {
			t.Errorf("inode number %d, before %d", e.Ino, ino)
		}
		ino = e.Ino
		r.lookup(1, "f")
		r.Forget(e.NodeId, 1)
		if n := r.Stats().Nodes; n != 2 {
			t.Errorf("%d nodes after forgetting one lookup of two", n)
		}
		r.Forget(e.NodeId, 1)
		if n := r.Stats().Nodes; n != 1 {
			t.Errorf("%d nodes after forgetting", n)
		}
	}
	if len(seen) != 5 {
		t.Errorf("ids: %v", seen)
	}
}

// TestShown is the table of what is shown of owners and modes.
func TestShown(t *testing.T) {
	for _, tc := range []struct {
		name      string
		spec      volume.Spec
		file, dir uint32
		uid, gid  uint32
	}{
		{"the server's", volume.Spec{}, 0o640, 0o750, 0, 0},
		{"owner", volume.Spec{UID: 5, GID: 6}, 0o640, 0o750, 5, 6},
		{"umask", volume.Spec{Umask: 0o027}, 0o640, 0o750, 0, 0},
		{"narrow umask", volume.Spec{Umask: 0o077}, 0o600, 0o700, 0, 0},
		{"modes", volume.Spec{FileMode: 0o444, DirMode: 0o555, Umask: 0o777}, 0o444, 0o555, 0, 0},
		{"group", volume.Spec{UID: 5, GID: 6, FSGroup: 7, FSGroupSet: true}, 0o660, 0o770, 5, 7},
		{"group 0", volume.Spec{GID: 6, FSGroupSet: true}, 0o660, 0o770, 0, 0},
		{"group and modes", volume.Spec{FileMode: 0o604, DirMode: 0o705, FSGroup: 7, FSGroupSet: true}, 0o664, 0o775, 0, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRaw(t, func(c *fusefs.Config) { c.Spec = tc.spec })
			r.remote.setFault(nil)
			ctx := t.Context()
			for _, f := range []func() error{
				func() error { _, err := r.remote.Create(ctx, "f"); return err },
				func() error { _, err := r.remote.SetAttr(ctx, "f", uftp.Attr{Mode: 0o640, SetMode: true}); return err },
				func() error { _, err := r.remote.NewDir(ctx, "d"); return err },
				func() error { _, err := r.remote.SetAttr(ctx, "d", uftp.Attr{Mode: 0o750, SetMode: true}); return err },
			} {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			f, d := r.lookup(1, "f").Attr, r.lookup(1, "d").Attr
			got := fmt.Sprintf("%o %o %d %d", f.Mode, d.Mode, f.Uid, d.Gid)
			want := fmt.Sprintf("%o %o %d %d", syscall.S_IFREG|tc.file, syscall.S_IFDIR|tc.dir, tc.uid, tc.gid)
			if got != want {
				t.Errorf("shown %s, want %s", got, want)
			}
		})
	}
}

func TestNewErrors(t *testing.T) {
	if _, err := fusefs.New(t.Context(), fusefs.Config{}); err == nil {
		t.Error("no remote: accepted")
	}
	missing := &dirRemote{root: t.TempDir() + "/missing"}
	_, err := fusefs.New(t.Context(), fusefs.Config{Remote: missing})
	if got := fusefs.Errno(err); got != syscall.ENOENT {
		t.Errorf("missing root: %v", err)
	}
	file := &dirRemote{root: t.TempDir() + "/file"}
	write(t, file.root, "x")
	if _, err := fusefs.New(t.Context(), fusefs.Config{Remote: file}); fusefs.Errno(err) != syscall.ENOTDIR {
		t.Errorf("a file as root: %v", err)
	}
	var _ fusefs.Remote = (*uftp.Client)(nil)
}
