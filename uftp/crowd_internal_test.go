package uftp

import (
	"fmt"
	"testing"
	"time"
)

// crowded lets n readers, each of which waits for its bytes, read for a second
// from where a round trip takes so long.
func crowded(c *crowd, n int, trip time.Duration, begin time.Time) {
	each := trip / time.Duration(n)
	for range n - 1 {
		c.came(begin, trip)
	}
	for now := begin; now.Sub(begin) < time.Second; now = now.Add(each) {
		c.came(now, trip)
		c.now--
	}
	c.now -= n - 1
}

// TestCrowd finds out how many lanes small reads are worth.
func TestCrowd(t *testing.T) {
	for _, tt := range []struct {
		readers int
		trip    time.Duration
		want    int
	}{
		{1, 40 * time.Millisecond, 0},
		{2, 40 * time.Millisecond, 0},
		{2, 20 * time.Millisecond, 1},
		{3, 40 * time.Millisecond, 2},
		{16, 40 * time.Millisecond, 8},
		{16, 5 * time.Millisecond, 8},
		{64, 150 * time.Millisecond, 32},
		{16, 500 * time.Microsecond, 0}, // the server is near
		{1, 200 * time.Millisecond, 0},
	} {
		t.Run(fmt.Sprintf("%d readers, %v", tt.readers, tt.trip), func(t *testing.T) {
			var c crowd
			begin := time.Unix(0, 0)
			crowded(&c, tt.readers, tt.trip, begin)
			if c.lanes != tt.want || c.now != 0 {
				t.Errorf("%d lanes, want %d; %d reads are left", c.lanes, tt.want, c.now)
			}
			crowded(&c, 1, tt.trip, begin.Add(2*time.Second))
			if c.lanes > 1 {
				t.Errorf("%d lanes when one reader is left", c.lanes)
			}
		})
	}
}

// TestShed leaves a small range to the lane that has the least to do, and to none
// that may not take it.
func TestShed(t *testing.T) {
	e := &engine{pool: &pool{}, dialer: &dialer{}}
	e.pool.setLimit(4)
	for range 3 {
		l := &lane{engine: e, ready: true}
		l.sendCond.L = &e.mu
		e.lanes = append(e.lanes, l)
	}
	busy := func(l *lane, flights, bytes int) {
		l.pipe, l.unfilled, l.inflight = make([]*flight, flights+1), 1, bytes
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a, b, c := e.lanes[0], e.lanes[1], e.lanes[2]
	busy(a, 2, 8<<10)
	if a.shed() {
		t.Error("shed although nobody reads much")
	}
	e.crowd.lanes, e.small = 3, time.Now()
	if !a.shed() || b.shed() {
		t.Error("not left to those with nothing to do")
	}
	busy(b, 2, 8<<10)
	busy(c, 1, 1<<20)
	if a.shed() || b.shed() || !c.shed() {
		t.Error("left to a lane that has as much to do, or taken by one that has more")
	}
	busy(c, 1, 4<<10)
	if !a.shed() {
		t.Error("not left to a lane with less to do")
	}
	for what, change := range map[string]func(l *lane, on bool){
		"is not ready": func(l *lane, on bool) { l.ready = !on },
		"yields":       func(l *lane, on bool) { l.yielding = on },
		"holds":        func(l *lane, on bool) { l.hold = on },
		"lost":         func(l *lane, on bool) { l.tail = on },
	} {
		if change(c, true); a.shed() {
			t.Errorf("left to a lane that %s", what)
		}
		change(c, false)
	}
	e.small = time.Now().Add(-smallTime)
	if a.shed() {
		t.Error("shed long after the last small read")
	}
}
