package fusefs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// failing makes the calls of some operations fail.
func failing(err error, ops ...string) func(context.Context, string, string) error {
	return func(_ context.Context, op, _ string) error {
		if slices.Contains(ops, op) {
			return err
		}
		return nil
	}
}

func TestUploadErrorAtClose(t *testing.T) {
	for name, tc := range map[string]struct{ cause, want error }{
		"server away":   {uftp.ErrUnavailable, syscall.EIO},
		"disk full":     {syscall.ENOSPC, syscall.ENOSPC},
		"over quota":    {syscall.EDQUOT, syscall.EDQUOT},
		"no permission": {fs.ErrPermission, syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			m := mountDir(t, func(c *fusefs.Config) { c.Logger = nil })
			f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
			g := openFile(t, m.path("f"), os.O_WRONLY)
			reader := openFile(t, m.path("f"), os.O_RDONLY)
			wrote(t)(f.WriteString("data"))
			wrote(t)(g.WriteAt([]byte("more"), 4))
			m.remote.setFault(failing(tc.cause, "write"))
			if err := f.Sync(); !errors.Is(err, tc.want) {
				t.Errorf("fsync: %v, want %v", err, tc.want)
			}
			if err := f.Close(); !errors.Is(err, tc.want) {
				t.Errorf("close of one writer: %v, want %v", err, tc.want)
			}
			if err := g.Sync(); !errors.Is(err, tc.want) {
				t.Errorf("fsync of the other writer: %v, want %v", err, tc.want)
			}
			if err := g.Close(); !errors.Is(err, tc.want) {
				t.Errorf("close of the other writer: %v, want %v", err, tc.want)
			}
			if err := reader.Close(); err != nil {
				t.Errorf("close of a reader: %v", err)
			}
			// The data is still there, and goes up once it can.
			wantFile(t, m.path("f"), "datamore")
			if st := m.fs.Stats(); st.Failing["f"] == nil || st.Spool.Dirty != 8 {
				t.Errorf("stats: %+v", st)
			}
			m.remote.setFault(nil)
			eventually(t, "upload retried and forgotten", func() bool {
				st := m.fs.Stats()
				return st.Spool.Dirty == 0 && len(st.Failing) == 0
			})
			wantFile(t, m.served("f"), "datamore")
		})
	}
}

// TestUnconfirmedSize: the server says that all is well and has less.
func TestUnconfirmedSize(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger = nil })
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("0123456789"))
	m.remote.setFault(func(_ context.Context, op, _ string) error {
		if op == "written" {
			return os.Truncate(m.served("f"), 5)
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("fsync: %v, want EIO", err)
	}
	m.remote.setFault(nil)
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	wantFile(t, m.served("f"), "0123456789")
}

// TestErrorBehindTheLastByte: what goes wrong in the background when all bytes have
// arrived is told to the next who asks, once, and logged.
func TestErrorBehindTheLastByte(t *testing.T) {
	var log bytes.Buffer
	r := newRaw(t, func(c *fusefs.Config) {
		c.Logger, c.WriteBackDelay = slog.New(slog.NewTextHandler(&log, nil)), time.Millisecond
	})
	var f fuse.CreateOut
	in := fuse.CreateIn{InHeader: header(1), Flags: syscall.O_RDWR, Mode: 0o444}
	if st := r.Create(nil, &in, "f", &f); !st.Ok() {
		t.Fatal(st)
	}
	arrived, goOn := make(chan struct{}), make(chan struct{})
	chmods := 0 // one at a time
	r.remote.setFault(func(_ context.Context, op, _ string) error {
		if op == "setattr" {
			chmods++
		}
		if op != "setattr" || chmods != 2 {
			return nil
		}
		close(arrived)
		<-goOn
		return syscall.ENOSPC
	})
	if _, st := r.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte("data")); !st.Ok() {
		t.Fatal(st)
	}
	<-arrived
	if st := r.Stats(); st.Spool.Dirty != 0 {
		t.Errorf("%d bytes are not on the server yet", st.Spool.Dirty)
	}
	flushed := make(chan fuse.Status)
	flush := func() { flushed <- r.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}) }
	go flush()
	close(goOn)
	if st := <-flushed; st != fuse.Status(syscall.ENOSPC) {
		t.Errorf("close: %v, want ENOSPC", st)
	}
	go flush()
	if st := <-flushed; !st.Ok() {
		t.Errorf("close again: %v", st)
	}
	r.Close()
	if !strings.Contains(log.String(), "behind its last byte") {
		t.Errorf("logged: %s", log.String())
	}
}

// TestVerify: bytes that arrive as others are noticed, and sent again.
func TestVerify(t *testing.T) {
	for _, algo := range []string{"md5", "sha256"} {
		t.Run(algo, func(t *testing.T) {
			m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.Spec.Verify = nil, algo })
			f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
			wrote(t)(f.WriteString("0123456789"))
			m.remote.setFault(func(_ context.Context, op, _ string) error {
				if op == "written" {
					return os.WriteFile(m.served("f"), []byte("01234x6789"), 0o600)
				}
				return nil
			})
			if err := f.Sync(); !errors.Is(err, syscall.EIO) {
				t.Errorf("fsync: %v, want EIO", err)
			}
			m.remote.setFault(nil)
			if err := f.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			wantFile(t, m.served("f"), "0123456789")
		})
	}
}

// TestRemovedWhileDirty: what others removed is not made anew.
func TestRemovedWhileDirty(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.Spec.AttrTimeout = nil, 0 })
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	if err := os.Remove(m.served("f")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Sync(); !errors.Is(err, syscall.ESTALE) {
			t.Errorf("fsync: %v, want ESTALE", err)
		}
	}
	if err := f.Close(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("close: %v, want ESTALE", err)
	}
	eventually(t, "data dropped", func() bool { return m.fs.Stats().Spool.Files == 0 })
	if got := names(t, m.root); len(got) != 0 {
		t.Errorf("on the server: %q", got)
	}
	if _, err := os.Stat(m.path("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}

// TestDirectoryRemovedWhileDirty is the same with what is above.
func TestDirectoryRemovedWhileDirty(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.Spec.AttrTimeout, c.Spec.EntryTimeout = nil, 0, 0 })
	mkdir(t, m.path("d"))
	f := openFile(t, m.path("d/f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	if err := os.RemoveAll(m.served("d")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.path("d")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if err := m.fs.Drain(t.Context()); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("drain: %v, want ESTALE", err)
	}
	if _, err := f.WriteString("more"); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("write: %v, want ESTALE", err)
	}
	if err := f.Close(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("close: %v, want ESTALE", err)
	}
	eventually(t, "data dropped", func() bool { return m.fs.Stats().Spool.Files == 0 })
}

// TestSyncThroughReader: fsync of a handle that cannot write, as sync(1) does.
func TestSyncThroughReader(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.WriteBackDelay = time.Hour })
	f := openFile(t, m.path("f"), os.O_WRONLY|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	if err := openFile(t, m.path("f"), os.O_RDONLY).Sync(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, m.served("f"), "data")
}

// TestSynchronousWrite: O_SYNC writes are on the server when they return.
func TestSynchronousWrite(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.WriteBackDelay = time.Hour })
	f := openFile(t, m.path("f"), os.O_WRONLY|os.O_CREATE|os.O_SYNC)
	wrote(t)(f.WriteString("data"))
	wantFile(t, m.served("f"), "data")
}

// TestBackPressure writes more than may be dirty while the server is slow, and
// while it is away.
func TestBackPressure(t *testing.T) {
	const limit = 1 << 20
	m := mountDir(t, func(c *fusefs.Config) {
		c.Logger, c.Spec.DirtyLimit, c.Spec.IOTimeout = nil, limit, 300*time.Millisecond
	})
	var most atomic.Int64
	m.remote.setFault(func(_ context.Context, op, _ string) error {
		most.Store(max(most.Load(), m.fs.Stats().Spool.Used))
		return nil
	})
	data := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	write(t, m.path("f"), data)
	wantFile(t, m.served("f"), data)
	if most.Load() > limit || most.Load() < limit/4 {
		t.Errorf("at most %d bytes in the spool, limit %d", most.Load(), limit)
	}

	m.remote.setFault(failing(uftp.ErrUnavailable, "write"))
	g := openFile(t, m.path("g"), os.O_RDWR|os.O_CREATE)
	if n, err := g.WriteString(data); !errors.Is(err, syscall.EIO) || n > limit {
		t.Errorf("writing while the server is away: %d bytes, %v; want EIO", n, err)
	}
	m.remote.setFault(nil)
}

// TestTimeout: a server that says nothing does not hang a program for ever.
func TestTimeout(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.Spec.IOTimeout = nil, 100*time.Millisecond })
	write(t, m.served("f"), "x")
	m.remote.setFault(func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if _, err := os.Stat(m.path("f")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("stat: %v, want ETIMEDOUT", err)
	}
	m.remote.setFault(nil)
	wantFile(t, m.path("f"), "x")
}

// TestBackgroundUpload: data goes up although nobody closes or syncs.
func TestBackgroundUpload(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.WriteBackDelay = 20 * time.Millisecond })
	f := openFile(t, m.path("log"), os.O_WRONLY|os.O_CREATE)
	for _, line := range []string{"one\n", "two\n"} {
		wrote(t)(f.WriteString(line))
		eventually(t, "line on the server", func() bool {
			b, _ := os.ReadFile(m.served("log"))
			return strings.HasSuffix(string(b), line)
		})
	}
	wantFile(t, m.served("log"), "one\ntwo\n")
	wantFile(t, m.path("log"), "one\ntwo\n")
}

func TestBackgroundUploadOfLargeData(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.WriteBackDelay, c.Spec.DirtyLimit = time.Hour, 64<<20 })
	f := openFile(t, m.path("f"), os.O_WRONLY|os.O_CREATE)
	wrote(t)(f.Write(make([]byte, 8<<20)))
	eventually(t, "upload without waiting", func() bool { return m.fs.Stats().Spool.Dirty == 0 })
}

func TestDrain(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.WriteBackDelay = nil, time.Hour })
	f := openFile(t, m.path("f"), os.O_WRONLY|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	g := openFile(t, m.path("g"), os.O_WRONLY|os.O_CREATE)
	wrote(t)(g.WriteString("more"))
	m.remote.setFault(func(_ context.Context, op, path string) error {
		if op == "write" && path == "g" {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := m.fs.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("drain: %v, want ENOSPC", err)
	}
	wantFile(t, m.served("f"), "data")
	m.remote.setFault(nil)
	if err := m.fs.Drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	wantFile(t, m.served("g"), "more")
}

// TestHiddenRemovedLater: the server is away when the last handle is closed.
func TestHiddenRemovedLater(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger = nil })
	f := openFile(t, m.path("f"), os.O_WRONLY|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	if err := os.Remove(m.path("f")); err != nil {
		t.Fatal(err)
	}
	m.remote.setFault(failing(uftp.ErrUnavailable, "remove"))
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	eventually(t, "removal failed", func() bool { return len(m.fs.Stats().Failing) > 0 })
	m.remote.setFault(nil)
	eventually(t, "removed", func() bool { return len(names(t, m.root)) == 0 })
	eventually(t, "forgotten", func() bool { return len(m.fs.Stats().Failing) == 0 })
}

// TestHiddenAtTheEnd: what is open when nothing is served any more is closed by
// nobody. Of files without a name nothing may be left on the server.
func TestHiddenAtTheEnd(t *testing.T) {
	r := newRaw(t, func(c *fusefs.Config) { c.WriteBackDelay = time.Hour })
	for _, name := range []string{"clean", "dirty"} {
		f := r.create(1, name)
		if name == "dirty" {
			_, st := r.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte("data"))
			if !st.Ok() {
				t.Fatal(st)
			}
		}
		h := header(1)
		if st := r.Unlink(nil, &h, name); !st.Ok() {
			t.Fatal(st)
		}
	}
	if got := names(t, r.remote.root); len(got) != 2 {
		t.Fatalf("hidden are %q", got)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if got := names(t, r.remote.root); len(got) != 0 {
		t.Errorf("left on the server: %q", got)
	}
	if st := r.Stats(); st.Spool.Dirty != 0 {
		t.Errorf("%d bytes of what nobody can see wait to be uploaded", st.Spool.Dirty)
	}
}

// TestReadErrors: an error of a read is that read's alone.
func TestReadErrors(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger = nil })
	write(t, m.served("f"), "content")
	m.remote.setFault(failing(uftp.ErrUnavailable, "read"))
	if _, err := os.ReadFile(m.path("f")); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v, want EIO", err)
	}
	m.remote.setFault(nil)
	wantFile(t, m.path("f"), "content")
}

// TestFullDiskIsNotWaitedFor: a writer that finds no room, because the server
// takes nothing, hears why, and not only when the volume's patience ends. So
// does one of another file.
func TestFullDiskIsNotWaitedFor(t *testing.T) {
	for cause, other := range map[syscall.Errno]syscall.Errno{
		syscall.ENOSPC: syscall.ENOSPC, syscall.EDQUOT: syscall.EDQUOT, syscall.EACCES: syscall.EIO,
	} {
		t.Run(cause.Error(), func(t *testing.T) {
			m := mountDir(t, func(c *fusefs.Config) {
				c.Logger, c.Spec.DirtyLimit, c.Spec.IOTimeout, c.RetryDelay = nil, 1<<20, time.Hour, 50*time.Millisecond
			})
			f, g := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE), openFile(t, m.path("g"), os.O_RDWR|os.O_CREATE)
			m.remote.setFault(failing(cause, "write"))
			data := make([]byte, 8<<20)
			n, err := f.Write(data)
			if !errors.Is(err, cause) {
				t.Errorf("write of %d of %d bytes: %v, want %v", n, len(data), err, cause)
			}
			if _, err := g.Write(data[:1<<20]); !errors.Is(err, other) {
				t.Errorf("write to another file: %v, want %v", err, other)
			}
			m.remote.setFault(nil)
			eventually(t, "room again", func() bool {
				_, err := f.WriteAt(data[n:], int64(n))
				return err == nil
			})
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			wantFile(t, m.served("f"), string(data))
		})
	}
}

// TestServerAwayIsWaitedForOnce: a failed upload does not wait for a second
// answer of a server that gives none.
func TestServerAwayIsWaitedForOnce(t *testing.T) {
	const patience = 500 * time.Millisecond
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.Spec.IOTimeout, c.Spec.AttrTimeout = nil, patience, time.Hour })
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString("data"))
	var asked atomic.Int32
	m.remote.setFault(func(ctx context.Context, _, _ string) error {
		asked.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	if err := f.Sync(); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("fsync: %v, want ETIMEDOUT", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	m.remote.setFault(nil)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	wantFile(t, m.served("f"), "data")
}

// writeAll writes to a file as one request, in the background: the kernel's requests
// are smaller.
func (r *raw) writeAll(f *fuse.CreateOut, data []byte, off int64) <-chan written {
	done := make(chan written, 1)
	go func() {
		in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: uint64(off)}
		n, st := r.Write(nil, in, data)
		done <- written{int(n), st}
	}()
	return done
}

type written struct {
	n  int
	st fuse.Status
}

// wantSoon returns what comes from a channel, which need not be waited for long.
func wantSoon[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("timed out: %s", what)
	}
	return v
}

// TestServerAwayIsNotWaitedForAgain: writers that find no room, because uploads
// waited for the server in vain, do not wait as long once more, each by himself.
// When it takes data again they do wait for room.
func TestServerAwayIsNotWaitedForAgain(t *testing.T) {
	for name, cause := range map[string]error{"away": uftp.ErrUnavailable, "silent": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, func(c *fusefs.Config) {
				c.Spec.DirtyLimit, c.Spec.IOTimeout, c.RetryDelay, c.WriteBackDelay = 1<<20, time.Hour, time.Hour, time.Hour
			})
			f, g := r.create(1, "f"), r.create(1, "g")
			r.remote.setFault(failing(cause, "write"))
			want := fuse.Status(fusefs.Errno(cause))
			data := make([]byte, 2<<20)
			first := wantSoon(t, "the writer who fills the spool", r.writeAll(f, data, 0))
			if !first.st.Ok() || first.n == 0 || first.n == len(data) {
				t.Fatalf("wrote %+v", first)
			}
			for range 3 {
				if w := wantSoon(t, "the next write", r.writeAll(f, data, int64(first.n))); w.st != want {
					t.Errorf("wrote %+v, want %v", w, want)
				}
			}
			if w := wantSoon(t, "a write to another file", r.writeAll(g, data, 0)); w.st.Ok() {
				t.Errorf("wrote %+v to another file", w)
			}

			// Some arrives, and the rest comes slowly.
			dirty := r.Stats().Spool.Dirty
			var batches atomic.Int32
			goOn := make(chan struct{})
			r.remote.setFault(func(_ context.Context, op, _ string) error {
				if op == "write" && batches.Add(1) > 1 {
					<-goOn
				}
				return nil
			})
			flushed := make(chan fuse.Status, 1)
			go func() { flushed <- r.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}) }()
			eventually(t, "some data on the server", func() bool { return r.Stats().Spool.Dirty < dirty })
			slow := r.writeAll(f, data, int64(first.n))
			select {
			case w := <-slow:
				t.Errorf("wrote %+v while the server was slow", w)
			case <-time.After(50 * time.Millisecond):
			}
			close(goOn)
			if w := wantSoon(t, "a write when there is room", slow); w.n != len(data) {
				t.Errorf("wrote %+v of %d bytes", w, len(data))
			}
			if st := wantSoon(t, "close", flushed); !st.Ok() {
				t.Errorf("close: %v", st)
			}
		})
	}
}

// TestOpenSeesTheEnd: what others closed is there at the next open, all of it,
// however long the kernel may believe in the size that it knows.
func TestOpenSeesTheEnd(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Spec.AttrTimeout, c.Spec.EntryTimeout = time.Hour, time.Hour })
	for i, size := range []int{10, 20, 5000, 0, 1 << 20, 3} {
		want := strings.Repeat("0123456789", size)[:size]
		if err := os.WriteFile(m.served("f"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(m.served("f"), when, when); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(m.path("f"))
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := f.Stat(); err != nil || fi.Size() != int64(size) {
			t.Errorf("fstat: %d bytes, want %d (%v)", fi.Size(), size, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		wantFile(t, m.path("f"), want)
	}
}

// TestTruncateAfterLostConfirmation: the server has what it could not confirm.
// What is cut off after that must not come back.
func TestTruncateAfterLostConfirmation(t *testing.T) {
	m := mountDir(t, func(c *fusefs.Config) { c.Logger, c.RetryDelay = nil, time.Hour })
	f := openFile(t, m.path("f"), os.O_RDWR|os.O_CREATE)
	wrote(t)(f.WriteString(strings.Repeat("x", 100)))
	m.remote.setFault(failing(uftp.ErrUnavailable, "written"))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("fsync: %v, want EIO", err)
	}
	m.remote.setFault(nil)
	for _, size := range []int64{10, 50} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Repeat("x", 10) + strings.Repeat("\x00", 40)
	wantFile(t, m.path("f"), want)
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	wantFile(t, m.served("f"), want)
}
