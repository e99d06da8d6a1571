package diskcache_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		runChild(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

func config(dir string) diskcache.Config {
	return diskcache.Config{Dir: dir, Budget: 64 * mib, Source: "https://a/rest/auth/X:", Identity: "CN=me as me"}
}

func open(t *testing.T, cfg diskcache.Config) *diskcache.Cache {
	t.Helper()
	c, err := diskcache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func file(path string, size int64) diskcache.Content {
	return diskcache.Content{Path: path, Size: size, ModTime: time.Unix(1_700_000_000, 5)}
}

// data returns n bytes of a content.
func data(x diskcache.Content, off, n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		at := off + int64(i)
		p[i] = byte(at) ^ byte(at>>8)*31 ^ byte(at>>16) ^ byte(len(x.Path)) ^ x.Path[len(x.Path)-1]
	}
	return p
}

// store puts bytes of x and waits until they are on the disk, or not.
func store(t *testing.T, c *diskcache.Cache, x diskcache.Content, off, n int64) bool {
	t.Helper()
	done := make(chan struct{})
	if !c.Put(x, off, data(x, off, n), func() { close(done) }) {
		return false
	}
	<-done
	return true
}

// has reports whether bytes of x are there; if they are, they must be right.
func has(t *testing.T, c *diskcache.Cache, x diskcache.Content, off, n int64) bool {
	t.Helper()
	p := make([]byte, n)
	if !c.Get(x, off, p) {
		return false
	}
	if !bytes.Equal(p, data(x, off, n)) {
		t.Fatalf("wrong bytes of %s at %d+%d", x.Path, off, n)
	}
	return true
}

func TestPutGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c := open(t, config(dir))
	x := file("/home/a file", 300*kib+77)
	if has(t, c, x, 0, 4*kib) {
		t.Error("there before it was put")
	}
	store(t, c, x, 64*kib, 128*kib)
	store(t, c, x, 300*kib, 77)
	again := open(t, config(dir)) // another process, or the next one
	for _, c := range []*diskcache.Cache{c, again} {
		for _, tc := range []struct {
			off, n int64
			want   bool
		}{
			{64 * kib, 128 * kib, true}, {100 * kib, 4 * kib, true}, {300 * kib, 77, true},
			{60 * kib, 8 * kib, false}, {188 * kib, 8 * kib, false}, {0, 4 * kib, false},
			{64*kib + 1, 4 * kib, false}, {64 * kib, 4*kib - 1, false}, {300 * kib, 78, false}, {-4 * kib, 4 * kib, false},
		} {
			if got := has(t, c, x, tc.off, tc.n); got != tc.want {
				t.Errorf("%d+%d: there %t, want %t", tc.off, tc.n, got, tc.want)
			}
		}
	}
	if st := c.Stats(); st.Hits != 3 || st.HitBytes != 132*kib+77 || st.Misses != 8 || st.Stored != 128*kib+77 {
		t.Errorf("%+v", st)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestKeys: nobody gets what was stored for another identity, source, path,
// size or time, and the directory does not tell names.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	x := file("/secret-name", 8*kib)
	c := open(t, config(dir))
	store(t, c, x, 0, 8*kib)
	for name, change := range map[string]func(*diskcache.Config, *diskcache.Content){
		"identity":    func(cfg *diskcache.Config, _ *diskcache.Content) { cfg.Identity = "CN=you as you" },
		"source":      func(cfg *diskcache.Config, _ *diskcache.Content) { cfg.Source += "2" },
		"path":        func(_ *diskcache.Config, x *diskcache.Content) { x.Path += "/" },
		"time":        func(_ *diskcache.Config, x *diskcache.Content) { x.ModTime = x.ModTime.Add(time.Second) },
		"size":        func(_ *diskcache.Config, x *diskcache.Content) { x.Size++ },
		"other split": func(cfg *diskcache.Config, x *diskcache.Content) { cfg.Identity += "/"; x.Path = x.Path[1:] },
	} {
		cfg, y := config(dir), x
		change(&cfg, &y)
		if open(t, cfg).Get(y, 0, make([]byte, 4*kib)) {
			t.Errorf("another %s gets it", name)
		}
	}
	if !has(t, c, x, 0, 8*kib) {
		t.Error("it is gone")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || strings.Contains(e.Name()+string(b), "secret-name") {
			t.Errorf("%s tells the name (%v)", e.Name(), err)
		}
	}
}

// TestYoung: what may still change without showing it is not kept.
func TestYoung(t *testing.T) {
	c := open(t, config(t.TempDir()))
	for _, age := range []time.Duration{0, time.Second, -time.Hour} {
		x := file("/f", 4*kib)
		x.ModTime = time.Now().Add(-age)
		if store(t, c, x, 0, 4*kib) || has(t, c, x, 0, 4*kib) {
			t.Errorf("kept at the age of %v", age)
		}
	}
}

// TestForget: what is forgotten is gone for everybody who looks for it then, and
// stays away even if it was on its way to the disk.
func TestForget(t *testing.T) {
	cfg := config(t.TempDir())
	c, other := open(t, cfg), open(t, cfg)
	x, y := file("/f", 8*kib), file("/g", 8*kib)
	store(t, c, x, 0, 8*kib)
	store(t, c, y, 0, 8*kib)
	c.Forget(x)
	if has(t, c, x, 0, 8*kib) || has(t, other, x, 0, 8*kib) {
		t.Error("still there")
	}
	if !has(t, c, y, 0, 8*kib) {
		t.Error("another is gone, too")
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		if !c.Put(x, 0, data(x, 0, 8*kib), wg.Done) {
			wg.Done()
		}
	}
	c.Forget(x)
	wg.Wait()
	if has(t, c, x, 0, 8*kib) || has(t, other, x, 0, 8*kib) {
		t.Error("there again")
	}
}

// TestDamage spoils the files in many ways: the bytes that come out are right,
// or none do, and in the end the cache works again.
func TestDamage(t *testing.T) {
	const size = 40*kib + 100
	rnd := rand.New(rand.NewPCG(1, 2))
	spoil := map[string]func(f *os.File, size int64) error{
		"a byte": func(f *os.File, size int64) error {
			_, err := f.WriteAt([]byte{byte(rnd.Uint32())}, rnd.Int64N(size))
			return err
		},
		"zeros": func(f *os.File, size int64) error {
			_, err := f.WriteAt(make([]byte, 4*kib), rnd.Int64N(size))
			return err
		},
		"cut short": func(f *os.File, size int64) error { return f.Truncate(rnd.Int64N(size)) },
		"empty":     func(f *os.File, _ int64) error { return f.Truncate(0) },
		"longer":    func(f *os.File, size int64) error { return f.Truncate(size + 1) },
		"removed":   func(f *os.File, _ int64) error { return os.Remove(f.Name()) },
	}
	for name, spoil := range spoil {
		for _, kind := range []string{".data", ".index"} {
			for round := range 20 {
				dir := t.TempDir()
				x := file("/f", size)
				store(t, open(t, config(dir)), x, 0, size)
				before := open(t, config(dir))
				has(t, before, x, 0, size) // has the files open from now on
				paths, _ := filepath.Glob(filepath.Join(dir, "*"+kind))
				f, err := os.OpenFile(paths[0], os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				info, _ := f.Stat()
				if err := spoil(f, info.Size()); err != nil {
					t.Fatal(err)
				}
				f.Close()
				after := open(t, config(dir))
				for range 2 {
					for _, c := range []*diskcache.Cache{before, after} {
						for off := int64(0); off < size; off += 4 * kib {
							has(t, c, x, off, min(4*kib, size-off))
						}
						if f, ok := c.Complete(x); ok {
							if b, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(b, data(x, 0, size)) {
								t.Errorf("%s of %s, round %d: wrong bytes in the complete file", name, kind, round)
							}
							f.Close()
						}
					}
				}
				for range 3 { // whatever is wrong is found and removed
					store(t, after, x, 0, size)
					if has(t, after, x, 0, size) {
						break
					}
				}
				if !has(t, after, x, 0, size) {
					t.Errorf("%s of %s, round %d: does not recover", name, kind, round)
				}
			}
		}
	}
}

// TestParallel puts and gets through two caches, with many goroutines.
func TestParallel(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Budget = 4 * mib
	caches := []*diskcache.Cache{open(t, cfg), open(t, cfg)}
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(g, 1))
			for range 200 {
				x := file("/"+string(rune('a'+rnd.IntN(20))), rnd.Int64N(3)*100_000+50_000)
				off := rnd.Int64N(x.Size/(4*kib)) * 4 * kib
				n := min(x.Size-off, (rnd.Int64N(16)+1)*4*kib)
				c := caches[rnd.IntN(2)]
				if !has(t, c, x, off, n) {
					store(t, c, x, off, n)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range caches {
		if st := c.Stats(); st.Damaged > 0 || st.Errors > 0 || st.Hits == 0 {
			t.Errorf("%+v", st)
		}
	}
}
