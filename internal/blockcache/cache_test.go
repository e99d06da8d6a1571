package blockcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content returns the bytes of a version of a file.
func content(key blockcache.Key) []byte {
	rnd := rand.New(rand.NewPCG(key.File, key.Version.Seq))
	p := make([]byte, key.Version.Size)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

func newCache(t *testing.T, cfg blockcache.Config) *blockcache.Cache {
	t.Helper()
	c, err := blockcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var errFault = errors.New("fault")

// TestSharedFlight lets many readers want the same bytes: one fetch, whose
// error all see; one that gives up does not disturb the others.
func TestSharedFlight(t *testing.T) {
	for _, fail := range []error{nil, errFault} {
		synctest.Test(t, func(t *testing.T) {
			key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 100}}
			gate := make(chan struct{})
			var fetches atomic.Int64
			c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20,
				Fetch: func(ctx context.Context, r blockcache.Request) error {
					fetches.Add(1)
					<-gate
					copy(r.Buf, content(r.Key)[r.Off:])
					return fail
				}})
			impatient, cancel := context.WithCancel(t.Context())
			errs := make(chan error, 10)
			for range 9 {
				go func() {
					_, err := c.ReadAt(t.Context(), key, make([]byte, 10), 50)
					errs <- err
				}()
			}
			gone := make(chan error)
			go func() {
				_, err := c.ReadAt(impatient, key, make([]byte, 10), 50)
				gone <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled reader: %v", err)
			}
			close(gate)
			for range 9 {
				if err := <-errs; !errors.Is(err, fail) {
					t.Errorf("reader: %v, want %v", err, fail)
				}
			}
			if n := fetches.Load(); n != 1 {
				t.Errorf("%d fetches, want 1", n)
			}
		})
	}
}

// TestTimeout ends a flight that takes too long.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20, Timeout: time.Minute,
			Fetch: func(ctx context.Context, _ blockcache.Request) error {
				<-ctx.Done()
				return ctx.Err()
			}})
		start := time.Now()
		_, err := c.ReadAt(t.Context(), blockcache.Key{Version: blockcache.Version{Size: 1}}, make([]byte, 1), 0)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestVersionsDoNotMix(t *testing.T) {
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 1 << 20,
		Fetch: func(_ context.Context, r blockcache.Request) error {
			copy(r.Buf, content(r.Key)[r.Off:])
			return nil
		}})
	read := func(seq uint64) (string, error) {
		p := make([]byte, 8)
		_, err := c.ReadAt(t.Context(), blockcache.Key{File: 1, Version: blockcache.Version{Size: 8, Seq: seq}}, p, 0)
		return string(p), err
	}
	one, err := read(1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := read(2)
	if err != nil || one == two {
		t.Errorf("the old bytes for the new version (%v)", err)
	}
	if _, err := read(1); !errors.Is(err, blockcache.ErrStale) {
		t.Errorf("reading the old version: %v, want ErrStale", err)
	}
}

func TestReadAtBounds(t *testing.T) {
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 4096,
		Fetch: func(_ context.Context, r blockcache.Request) error {
			copy(r.Buf, content(r.Key)[r.Off:])
			return nil
		}})
	key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 10_000}}
	want := content(key)
	for _, tc := range []struct {
		off int64
		len int
		n   int
		err error
	}{
		{0, 10_000, 10_000, nil},
		{0, 10_001, 10_000, io.EOF},
		{4095, 2, 2, nil},
		{9_999, 10, 1, io.EOF},
		{10_000, 1, 0, io.EOF},
		{20_000, 1, 0, io.EOF},
		{10_000, 0, 0, nil},
	} {
		p := make([]byte, tc.len)
		n, err := c.ReadAt(t.Context(), key, p, tc.off)
		if n != tc.n || !errors.Is(err, tc.err) {
			t.Errorf("at %d+%d: %d, %v; want %d, %v", tc.off, tc.len, n, err, tc.n, tc.err)
		} else if n > 0 && !bytes.Equal(p[:n], want[tc.off:tc.off+int64(n)]) {
			t.Errorf("at %d+%d: wrong bytes", tc.off, tc.len)
		}
	}
}

func TestConfig(t *testing.T) {
	fetch := func(context.Context, blockcache.Request) error { return nil }
	for name, cfg := range map[string]blockcache.Config{
		"no fetch":     {Budget: 1 << 20, BlockSize: 4096},
		"tiny block":   {Budget: 1 << 20, BlockSize: 2048, Fetch: fetch},
		"odd block":    {Budget: 1 << 20, BlockSize: 5000, Fetch: fetch},
		"small budget": {Budget: 1 << 19, BlockSize: 1 << 20, Fetch: fetch},
		"tiny budget":  {Budget: 4096, BlockSize: 4096, Fetch: fetch},
	} {
		if _, err := blockcache.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestLoad brings bytes that nobody has read, once.
func TestLoad(t *testing.T) {
	var fetched, ahead atomic.Int64
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 256 << 10,
		Fetch: func(_ context.Context, r blockcache.Request) error {
			fetched.Add(int64(len(r.Buf)))
			if r.Ahead {
				ahead.Add(int64(len(r.Buf)))
			}
			copy(r.Buf, content(r.Key)[r.Off:])
			return nil
		}})
	key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 300 << 10}}
	for _, n := range []int64{300 << 10, 1 << 40} {
		if err := c.Load(t.Context(), key, 0, n, true); err != nil {
			t.Fatal(err)
		}
	}
	if st := c.Stats(); st.ReadBytes != 0 || st.Ahead != 300<<10 || fetched.Load() != 300<<10 || ahead.Load() != fetched.Load() {
		t.Errorf("%d bytes fetched, %d ahead: %+v", fetched.Load(), ahead.Load(), st)
	}
	p := make([]byte, 300<<10)
	if _, err := c.ReadAt(t.Context(), key, p, 0); err != nil || !bytes.Equal(p, content(key)) {
		t.Errorf("after loading: %v, or wrong bytes", err)
	}
	if fetched.Load() != 300<<10 {
		t.Errorf("%d bytes fetched for 300 KiB", fetched.Load())
	}
	if err := c.Load(t.Context(), key, -1, 1, false); err == nil {
		t.Error("negative offset accepted")
	}
}
