package worker

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// memFS has one file of benchSize zeros, which it has at once.
type memFS struct {
	fuse.RawFileSystem
	direct bool
}

const benchSize = 1 << 30

func (m *memFS) attr(id uint64, a *fuse.Attr) {
	a.Ino, a.Mode, a.Nlink = id, fuse.S_IFDIR|0o755, 1
	if id == 2 {
		a.Mode, a.Size = fuse.S_IFREG|0o644, benchSize
	}
}

func (m *memFS) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name != "f" {
		return fuse.ENOENT
	}
	out.NodeId = 2
	m.attr(2, &out.Attr)
	return fuse.OK
}

func (m *memFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	m.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (m *memFS) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if m.direct {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	}
	return fuse.OK
}

func (m *memFS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	left := benchSize - min(in.Offset, benchSize)
	return fuse.ReadResultData(buf[:min(uint64(len(buf)), left)]), fuse.OK
}

func (m *memFS) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status { return fuse.OK }

// BenchmarkDevice reads a file and makes small requests through a mount served
// by the loop, and by go-fuse's own server for comparison.
func BenchmarkDevice(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("mounting needs root")
	}
	for _, direct := range []bool{false, true} {
		for name, serve := range map[string]func(testing.TB, fuse.RawFileSystem, string){"loop": serveLoop, "stock": serveStock} {
			mode := map[bool]string{false: "buffered", true: "direct"}[direct]
			b.Run(mode+"/"+name, func(b *testing.B) {
				dir := b.TempDir()
				serve(b, &memFS{fuse.NewDefaultRawFileSystem(), direct}, dir)
				raiseReadAhead(b, dir)
				b.SetBytes(benchSize)
				for b.Loop() {
					// A child, so that reading and serving share nothing.
					if out, err := exec.CommandContext(b.Context(), "dd", "if="+dir+"/f", "of=/dev/null", "bs=1M").CombinedOutput(); err != nil {
						b.Fatalf("%v: %s", err, out)
					}
					b.StopTimer()
					_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0)
					b.StartTimer()
				}
				b.StopTimer()
			})
			if direct {
				continue
			}
			b.Run("statfs/"+name, func(b *testing.B) {
				dir := b.TempDir()
				serve(b, &memFS{fuse.NewDefaultRawFileSystem(), false}, dir)
				var st unix.Statfs_t
				for b.Loop() {
					if err := unix.Statfs(dir, &st); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// raiseReadAhead does for a mount what the node does.
func raiseReadAhead(b testing.TB, dir string) {
	b.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		b.Fatal(err)
	}
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if err := os.WriteFile(bdi, []byte("4096"), 0); err != nil {
		b.Skip(err)
	}
}

func benchMount(b testing.TB, dir string) *wire.FD {
	b.Helper()
	n, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Skip(err)
	}
	opts := "fd=" + strconv.Itoa(n) + ",rootmode=40000,user_id=0,group_id=0,allow_other,max_read=1048576"
	if err := unix.Mount("bench", dir, "fuse.bench", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		b.Fatal(err)
	}
	return wire.NewFD(n)
}

func serveLoop(b testing.TB, fs fuse.RawFileSystem, dir string) {
	b.Helper()
	device := benchMount(b, dir)
	l := newLoop(fs, testLog(b), false)
	init := make([]byte, requestBuffer)
	n, err := unix.Read(device.Int(), init)
	if err != nil {
		b.Fatal(err)
	}
	reply, err := l.negotiate(init[:n])
	if err != nil {
		b.Fatal(err)
	}
	if _, err := unix.Write(device.Int(), reply); err != nil {
		b.Fatal(err)
	}
	if err := l.attach(device); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); l.run() }()
	b.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			b.Error(err)
		}
		<-done
	})
}

func serveStock(b testing.TB, fs fuse.RawFileSystem, dir string) {
	b.Helper()
	device := benchMount(b, dir)
	s, err := fuse.NewServer(fs, "/dev/fd/"+strconv.Itoa(device.Release()), options(testLog(b), false))
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve() }()
	b.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			b.Error(err)
		}
		<-done
	})
}
