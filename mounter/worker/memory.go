package worker

import (
	"context"
	"runtime"
	"runtime/debug"
)

// memoryHeadroom is what the heap may have beside the data that is not uploaded
// and what has no bound, in bytes: the garbage collector works harder as that
// nears. The cache is outside the heap, and so is the program itself, which is
// some 30 MiB more.
const memoryHeadroom = 18 << 20

// limitStep is how exactly the limit follows what is held, in bytes: to set it
// stops the program for a moment.
const limitStep = 4 << 20

// memory says what the heap may take.
type memory struct {
	bounded int64        // bytes that it takes in any case
	held    func() int64 // bytes that have to stay beside those, nil if none
}

// limit tells the garbage collector. A limit below what has to stay would have it
// work for half of the time, for ever, and free nothing.
func (m memory) limit() {
	limit := m.bounded
	if m.held != nil {
		limit += (m.held() + limitStep - 1) / limitStep * limitStep
	}
	if debug.SetMemoryLimit(-1) != limit {
		debug.SetMemoryLimit(limit)
	}
}

// collected is what nobody needs: when it goes there was a collection.
type collected struct{ _ *collected }

// eachCollection calls f, now and after each garbage collection, until ctx ends. f
// is waited for by nobody, and must not block.
func eachCollection(ctx context.Context, f func()) {
	if ctx.Err() != nil {
		return
	}
	f()
	runtime.AddCleanup(new(collected), func(ctx context.Context) { eachCollection(ctx, f) }, ctx)
}
