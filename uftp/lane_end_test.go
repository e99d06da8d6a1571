package uftp

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// TestSingleForNobody has the caller of a range give up before it was asked for,
// on a session that has one at a time: nothing is read into his buffer.
func TestSingleForNobody(t *testing.T) {
	p := newPool(func(context.Context, bool) (*session, error) { return nil, ErrBusy }, 1, time.Minute, slog.New(slog.DiscardHandler))
	defer p.close()
	l := newLane(newEngine(p, &dialer{}, time.Second))
	f := &fetch{end: 10, live: 1, buf: make([]byte, 10), done: make(chan struct{}, 1)}
	l.pipe = []*flight{{f: f, span: span{n: 10}, buf: f.buf}}
	l.lanes = []*lane{l}
	l.mu.Lock()
	l.fail(f, context.Canceled)
	l.mu.Unlock()
	if err := l.single(); err != nil || len(l.pipe) > 0 { // there is no session to read with
		t.Errorf("single: %v, %d ranges left", err, len(l.pipe))
	}
}
