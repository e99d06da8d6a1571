package blockcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

const (
	modelFiles    = 3
	modelVersions = 3
)

// TestAgainstByteSlice reads in every pattern, in parallel, copying and in
// views, with faults, cancelled readers, evictions and new versions, and
// compares every byte.
func TestAgainstByteSlice(t *testing.T) {
	for _, tc := range []struct {
		name          string
		budget, block int64
	}{
		{"one block", 128 << 10, 128 << 10},
		{"tight", 320 << 10, 128 << 10},
		{"small blocks", 64 << 10, 4 << 10},
		{"roomy", 16 << 20, 1 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) { newModel(t, tc.budget, tc.block).run() })
	}
}

// model is a cache and what must come out of it.
type model struct {
	t       *testing.T
	block   int64
	data    [modelFiles][modelVersions][]byte
	current [modelFiles]atomic.Int64
	c       *blockcache.Cache
	calls   atomic.Int64

	good, failed, stale atomic.Int64
}

func newModel(t *testing.T, budget, block int64) *model {
	m := &model{t: t, block: block}
	for f := range modelFiles {
		for v := range modelVersions {
			m.data[f][v] = content(m.key(f, v))
		}
	}
	m.c = newCache(t, blockcache.Config{Budget: budget, BlockSize: block, Timeout: time.Minute, Fetch: m.fetch})
	return m
}

func (m *model) key(f, v int) blockcache.Key {
	return blockcache.Key{File: uint64(f), Version: blockcache.Version{
		Size: int64(1000_003 + 70_000*f - 1000*v), ModTime: 1, Seq: uint64(v)}}
}

// fetch fails now and then, after spoiling what it was to fill.
func (m *model) fetch(ctx context.Context, r blockcache.Request) error {
	end := r.Off + int64(len(r.Buf))
	if n := int64(len(r.Buf)); n == 0 || n > m.block || r.Off/m.block != (end-1)/m.block || end > r.Key.Version.Size {
		m.t.Errorf("fetch of %d bytes at %d with blocks of %d", n, r.Off, m.block)
	}
	for i := range r.Buf {
		r.Buf[i] = 0xaa
	}
	if m.calls.Add(1)%7 == 0 {
		return errFault
	}
	copy(r.Buf, m.data[r.Key.File][r.Key.Version.Seq][r.Off:])
	return ctx.Err()
}

func (m *model) run() {
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() { m.user(g) })
	}
	wg.Wait()
	m.c.Close()
	st := m.c.Stats()
	m.t.Logf("%d good, %d failed, %d stale, %+v", m.good.Load(), m.failed.Load(), m.stale.Load(), st)
	if m.good.Load() == 0 || m.failed.Load() == 0 {
		m.t.Error("not everything was met")
	}
	if st.Flights != 0 || st.Ahead != 0 || st.Cached != 0 {
		m.t.Errorf("left behind: %+v", st)
	}
}

// user reads in one pattern after another.
func (m *model) user(g int) {
	rnd := rand.New(rand.NewPCG(uint64(g), 7))
	readers := map[int]*blockcache.Reader{}
	var view blockcache.View
	walk := walks(rnd)
	for step := range 600 {
		f := rnd.IntN(modelFiles)
		if rnd.IntN(30) == 0 || readers[f] == nil {
			readers[f] = m.c.NewReader()
			walk = walks(rnd)
		}
		v := int(m.current[f].Load())
		if g == 0 && step%90 == 89 && v < modelVersions-1 {
			v++
			m.current[f].Store(int64(v))
		}
		if rnd.IntN(50) == 0 {
			m.c.Invalidate(uint64(f))
		}
		k := m.key(f, v)
		off, n := walk(k.Version.Size)
		ctx, cancel := context.WithCancel(m.t.Context())
		if rnd.IntN(10) == 0 {
			cancel()
		}
		if rnd.IntN(3) == 0 {
			m.view(ctx, readers[f], k, off, n, &view)
		} else {
			m.read(ctx, readers[f], k, off, n)
		}
		cancel()
		if st := m.c.Stats(); st.Used > st.Budget {
			m.t.Errorf("over budget: %+v", st)
		}
	}
}

// walks returns a pattern of reads: at random, or forward, backward, in
// strides, or forward and a bit out of order.
func walks(rnd *rand.Rand) func(size int64) (off, n int64) {
	n := rnd.Int64N(100_000) + 1
	if rnd.IntN(2) == 0 {
		n = (n>>12 + 1) << 12
	}
	step, jitter := int64(0), int64(0)
	switch rnd.IntN(5) {
	case 0: // at random
		return func(size int64) (int64, int64) { return rnd.Int64N(size), n }
	case 1:
		step = n
	case 2:
		step = -n
	case 3:
		step = (rnd.Int64N(7) - 3) * 50_000
	case 4:
		step, jitter = n, n
	}
	pos := int64(0)
	return func(size int64) (int64, int64) {
		off := ((pos+jitter*rnd.Int64N(2))%size + size) % size
		pos += step
		return off, n
	}
}

func (m *model) read(ctx context.Context, r *blockcache.Reader, k blockcache.Key, off, n int64) {
	p := make([]byte, n)
	got, err := r.ReadAt(ctx, k, p, off)
	m.check(k, p[:got], off)
	if !errors.Is(err, io.EOF) || off+int64(got) != k.Version.Size {
		m.outcome(err, int64(got) == n)
	} else {
		m.good.Add(1)
	}
}

func (m *model) view(ctx context.Context, r *blockcache.Reader, k blockcache.Key, off, n int64, v *blockcache.View) {
	got, err := r.View(ctx, k, off, n, v)
	defer v.Release()
	p := bytes.Join(v.Pieces, nil)
	m.check(k, p, off)
	if int64(len(p)) != got || err != nil && got != 0 {
		m.t.Errorf("view of %d bytes in pieces of %d, %v", got, len(p), err)
	}
	m.outcome(err, got > 0)
	for range 20 {
		runtime.Gosched() // others fetch, evict, invalidate
	}
	if !bytes.Equal(bytes.Join(v.Pieces, nil), p) {
		m.t.Error("the bytes of a view changed")
	}
}

func (m *model) check(k blockcache.Key, p []byte, off int64) {
	if !bytes.Equal(p, m.data[k.File][k.Version.Seq][off:off+int64(len(p))]) {
		m.t.Errorf("wrong bytes: file %d version %d at %d+%d", k.File, k.Version.Seq, off, len(p))
	}
}

func (m *model) outcome(err error, whole bool) {
	switch {
	case err == nil && whole:
		m.good.Add(1)
	case errors.Is(err, blockcache.ErrStale):
		m.stale.Add(1)
	case errors.Is(err, errFault), errors.Is(err, context.Canceled):
		m.failed.Add(1)
	default:
		m.t.Errorf("whole: %t, err %v", whole, err)
	}
}
