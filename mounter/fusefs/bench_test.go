package fusefs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
)

// BenchmarkReadDirPlus lists a directory of 2,000 entries with their attributes,
// the first time and again, from a server that takes no time.
func BenchmarkReadDirPlus(b *testing.B) {
	const entries = 2000
	r := newRaw(b, nil)
	for i := range entries {
		write(b, fmt.Sprintf("%s/f%04d", r.remote.root, i), "")
	}
	h := header(fuse.FUSE_ROOT_ID)
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		var out fuse.OpenOut
		if st := r.OpenDir(nil, &fuse.OpenIn{InHeader: h}, &out); !st.Ok() {
			b.Fatal(st)
		}
		seen := 0
		for off := uint64(0); ; {
			l := fuse.NewDirEntryList(buf, off)
			if st := r.ReadDirPlus(nil, &fuse.ReadIn{InHeader: h, Fh: out.Fh, Offset: off}, l); !st.Ok() {
				b.Fatal(st)
			}
			_, found, err := fuse.ParseDirLookupEntries(l.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			if len(found) == 0 {
				break
			}
			seen += len(found)
			off = l.Offset
		}
		if seen < entries {
			b.Fatalf("%d entries, want %d", seen, entries)
		}
		r.ReleaseDir(&fuse.ReleaseIn{InHeader: h, Fh: out.Fh})
	}
}

// BenchmarkOpen opens, reads and closes a small file that is cached, from a server
// that takes no time to say that it is still the same.
func BenchmarkOpen(b *testing.B) {
	for name, believe := range map[string]bool{"asks": false, "believes": true} {
		b.Run(name, func(b *testing.B) {
			r := newRaw(b, func(c *fusefs.Config) {
				if believe {
					c.Spec.OpenTimeout = c.Spec.AttrTimeout
				}
			})
			write(b, r.remote.root+"/f", "content")
			age(b, r.remote.root+"/f", time.Hour)
			node := r.lookup(fuse.FUSE_ROOT_ID, "f").NodeId
			b.ReportAllocs()
			for b.Loop() {
				out, st := r.openRead(node)
				if !st.Ok() {
					b.Fatal(st)
				}
				if got, st := r.read(nil, node, out.Fh); got != "content" {
					b.Fatalf("read %q, %v", got, st)
				}
				r.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: out.Fh})
			}
		})
	}
}
