package main

import (
	"context"
	"sync"
	"time"
)

const (
	// readSize is how much is read at once, in bytes.
	readSize = 256 << 10
	// pacedSize is the same where bandwidth is limited, so that bytes come
	// steadily, as packets do.
	pacedSize = 32 << 10
	// smallSize is below which a chunk gets a buffer of its own size.
	smallSize = 16 << 10
)

// chunk is some bytes, or the end of them, and when they arrive.
type chunk struct {
	data []byte
	end  bool
	due  time.Time
}

// queue is one direction of a connection: what is under way.
type queue struct {
	line line
	free time.Time // when the line is free for the next byte; the writer's

	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	held    int
	dead    bool
}

// newQueue makes a queue on which nothing arrives before a moment.
func newQueue(l line, notBefore time.Time) *queue {
	q := &queue{line: l, free: notBefore.Add(-l.delay)}
	q.changed.L = &q.mu
	return q
}

// put queues a chunk, and blocks while the window is full. It reports whether
// anybody is still there to take it.
func (q *queue) put(data []byte, end bool) bool {
	if now := time.Now(); q.free.Before(now) {
		q.free = now
	}
	if q.line.bandwidth > 0 {
		q.free = q.free.Add(time.Duration(int64(len(data)) * int64(time.Second) / q.line.bandwidth))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.held > 0 && q.held+len(data) > q.line.window && !q.dead {
		q.changed.Wait()
	}
	q.chunks = append(q.chunks, chunk{data, end, q.free.Add(q.line.delay)})
	q.held += len(data)
	q.changed.Broadcast()
	return !q.dead
}

// take returns the next chunk when it has arrived, or false if there will be
// none.
func (q *queue) take(ctx context.Context) (chunk, bool) {
	q.mu.Lock()
	for len(q.chunks) == 0 && !q.dead {
		q.changed.Wait()
	}
	if q.dead {
		q.mu.Unlock()
		return chunk{}, false
	}
	c := q.chunks[0]
	q.chunks = q.chunks[1:]
	q.mu.Unlock()
	return c, arrive(ctx, c.due)
}

// taken makes room for another n bytes, those that were taken.
func (q *queue) taken(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= n
	q.changed.Broadcast()
}

// kill drops what is under way.
func (q *queue) kill() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = true
	q.changed.Broadcast()
}

// arrive waits for a moment.
func arrive(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
