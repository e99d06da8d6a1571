package diskcache_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

// complete waits until the background has verified x.
func complete(t *testing.T, c *diskcache.Cache, x diskcache.Content) *os.File {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(time.Millisecond); ; {
		if f, ok := c.Complete(x); ok {
			t.Cleanup(func() { f.Close() })
			return f
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("never complete")
		}
	}
}

func TestComplete(t *testing.T) {
	for _, size := range []int64{1, 4 * kib, 100*kib + 3, 5*mib + 7} {
		dir := t.TempDir()
		c := open(t, config(dir))
		x := file("/whole", size)
		for off := int64(0); off < size; off += mib {
			if f, ok := c.Complete(x); ok {
				f.Close()
				t.Errorf("%d bytes: complete before all is there", size)
			}
			store(t, c, x, off, min(mib, size-off))
		}
		f := complete(t, open(t, config(dir)), x)
		if _, err := f.WriteAt([]byte{0}, 0); err == nil {
			t.Error("it can be written to")
		}
		// Evicted, it stays what it was for those who have it.
		paths, _ := filepath.Glob(filepath.Join(dir, "*.*"))
		for _, p := range paths {
			if err := os.Remove(p); err != nil {
				t.Error(err)
			}
		}
		b, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(b, data(x, 0, size)) {
			t.Errorf("%d bytes: wrong bytes, %v", size, err)
		}
	}
}

// TestCompleteDamaged: a file with a wrong byte is not complete.
func TestCompleteDamaged(t *testing.T) {
	dir := t.TempDir()
	x := file("/whole", 3*mib)
	c := open(t, config(dir))
	for off := int64(0); off < x.Size; off += mib {
		store(t, c, x, off, mib)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.data"))
	f, err := os.OpenFile(paths[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xee}, 2*mib+5); err != nil {
		t.Fatal(err)
	}
	f.Close()
	c = open(t, config(dir))
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(time.Millisecond); c.Stats().Damaged == 0; {
		if _, ok := c.Complete(x); ok {
			t.Fatal("complete")
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("never found out")
		}
	}
	if has(t, c, x, 0, mib) {
		t.Error("what was damaged is still there")
	}
}
