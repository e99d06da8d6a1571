package uftp

import (
	"slices"
	"testing"
	"time"
)

// TestQueueOrder has reads of one file that came in any order go in theirs, and
// those that were there before go first.
func TestQueueOrder(t *testing.T) {
	var q queue
	for _, order := range []int64{3, 1, 4, 1, 5, 9, 2, 6} {
		q.push(&fetch{path: "f", ahead: true, order: order, end: 1, buf: make([]byte, 1)}, false)
	}
	again := &fetch{path: "f", ahead: true, order: 7, end: 1, buf: make([]byte, 1)}
	q.push(again, true)
	var got []int64
	for f := q.next(true, time.Now()); f != nil; f = q.next(true, time.Now()) {
		got = append(got, f.order)
		q.remove(f)
	}
	if want := []int64{7, 1, 1, 2, 3, 4, 5, 6, 9}; !slices.Equal(got, want) {
		t.Errorf("served in order %v, want %v", got, want)
	}
	if !q.empty() {
		t.Error("something is left")
	}
}
