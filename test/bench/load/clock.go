package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

// clock times work that several goroutines do, and counts what they did.
type clock struct {
	begin      time.Time
	end        time.Time // zero: now
	limit      time.Duration
	first      atomic.Int64 // nanoseconds to the first byte
	bytes, ops atomic.Int64
	child      *result.Result // gets what another program used
}

// did notes a piece of work.
func (c *clock) did(ops, bytes int) {
	if c.first.Load() == 0 && bytes > 0 {
		c.first.CompareAndSwap(0, int64(time.Since(c.begin)))
	}
	c.ops.Add(int64(ops))
	c.bytes.Add(int64(bytes))
}

// over reports whether the time is up.
func (c *clock) over() bool { return time.Since(c.begin) > c.limit }

// stop ends the measured time: what follows is checking.
func (c *clock) stop() { c.end = time.Now() }

func (c *clock) elapsed() time.Duration {
	if c.end.IsZero() {
		return time.Since(c.begin)
	}
	return c.end.Sub(c.begin)
}

// parallel runs work in n goroutines.
func parallel(n int, work func(i int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = work(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}
