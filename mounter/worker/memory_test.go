package worker

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
)

// TestMemoryLimit: the limit of the heap follows what has to stay in it, up and
// down, and never is less than what there is room for anyway.
func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	const bounded = 80 << 20
	var held atomic.Int64
	m := memory{bounded, held.Load}
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	eachCollection(ctx, func() { calls.Add(1); m.limit() })
	for _, n := range []int64{0, 1, 1000 << 20, 10 << 20, 0} {
		held.Store(n)
		eventually(t, "the limit follows", func() bool {
			runtime.GC()
			limit := debug.SetMemoryLimit(-1)
			return limit >= bounded+n && limit < bounded+n+limitStep
		})
	}
	cancel()
	last := calls.Load()
	for range 5 {
		runtime.GC()
	}
	if n := calls.Load() - last; n > 1 { // one may have been on its way
		t.Errorf("called %d times after the end", n)
	}
}
