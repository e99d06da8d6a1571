package uftp

import "testing"

// TestShare deals what there is to read out to the lanes that have a session.
func TestShare(t *testing.T) {
	e := &engine{}
	f := &fetch{path: "f", buf: make([]byte, 0), end: 30 << 20, next: 5 << 20, redo: []span{{n: 1 << 20}}}
	e.queue.push(f, false)
	e.queue.push(&fetch{path: "g", ahead: true, end: 6 << 20}, false)
	if got := e.share(); got != 32<<20 {
		t.Errorf("before there is a lane: %d", got)
	}
	for _, inflight := range []int{1 << 20, 2 << 20, 5 << 20} {
		e.lanes = append(e.lanes, &lane{engine: e, s: &session{}, inflight: inflight})
	}
	e.lanes = append(e.lanes, &lane{engine: e})
	if got, want := e.share(), 40<<20/3; got != want {
		t.Errorf("%d, want %d", got, want)
	}
	e.queue.remove(f)
	if got := e.share(); got != 14<<20/3 {
		t.Errorf("with little left: %d", got)
	}
	e.queue = queue{}
	e.lanes[2].inflight = 0
	if got := e.share(); got != leastShare {
		t.Errorf("with next to nothing left: %d", got)
	}
}
