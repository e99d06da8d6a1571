package fusefs

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// emptyRemote is a server with an empty directory.
type emptyRemote struct{ Remote }

func (emptyRemote) Stat(context.Context, string) (uftp.Info, error) {
	return uftp.Info{Mode: os.ModeDir | 0o755}, nil
}

func newEmpty(t *testing.T) *FS {
	t.Helper()
	fs, err := New(t.Context(), Config{Remote: emptyRemote{}, Spec: volume.Spec{AttrTimeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fs.Close() })
	return fs
}

func listed(n int) listing {
	entries := make([]uftp.Info, n)
	for i := range entries {
		entries[i] = uftp.Info{Name: fmt.Sprintf("n%08d_%07d.JPEG", i%1000, i), Size: 100 << 10, ModTime: time.Unix(int64(i), 0)}
	}
	return listing{entries: entries}
}

// TestHeld compares what is said to be held with what the heap takes.
func TestHeld(t *testing.T) {
	const files = 100_000
	live := func() int64 {
		runtime.GC()
		runtime.GC() // with the first one goes what others have left
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	within := func(what string, said, takes int64) {
		t.Helper()
		t.Logf("%s: %d bytes each, said to be %d", what, takes/files, said/files)
		if said < takes || said > 2*takes {
			t.Errorf("%s: %d bytes are said to be held, and %d are", what, said, takes)
		}
	}
	fs := newEmpty(t)
	heap, held := live(), fs.Held()
	fs.keepOrders(fs.tree.root, fs.newOrders(fs.tree.root, nil, listed(files)))
	listed, heldListed := live(), fs.Held()
	within("entry", heldListed-held, listed-heap)
	for _, e := range fs.tree.root.orders.Load().entries {
		if _, _, err := fs.tree.enter(fs.tree.root, e.Name, e, 1, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	within("node", fs.Held()-heldListed, live()-listed)
	runtime.KeepAlive(fs)
}

// TestOrdersAreBounded: many large listings are not all kept, and none of a
// directory that nobody knows any more.
func TestOrdersAreBounded(t *testing.T) {
	fs := newEmpty(t)
	dirs := make([]*node, 3)
	for i := range dirs {
		n, _, err := fs.tree.enter(fs.tree.root, fmt.Sprint(i), uftp.Info{Mode: os.ModeDir | 0o755}, 1, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		fs.keepOrders(n, fs.newOrders(n, nil, listed(maxListed/2)))
		dirs[i] = n
	}
	if dirs[0].orders.Load() != nil || dirs[1].orders.Load() == nil || dirs[2].orders.Load() == nil {
		t.Error("not the two newest are kept")
	}
	fs.keepOrders(dirs[0], fs.newOrders(dirs[0], nil, listed(2*maxListed)))
	if dirs[0].orders.Load() == nil || fs.ahead.listed() != 2*maxListed {
		t.Errorf("%d entries are kept, want those of the one large directory", fs.ahead.listed())
	}
	fs.tree.forget(dirs[0].id, 1)
	if n := fs.ahead.listed(); n != 0 {
		t.Errorf("%d entries of a forgotten directory are kept", n)
	}
}
