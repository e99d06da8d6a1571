package uftp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"
)

// TestFillTrickle reads over a connection that brings less, in the time that a
// server may be silent, than a reader waits for at once: that is not silence.
func TestFillTrickle(t *testing.T) {
	const piece, n = 100 << 10, 1 << 20
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()

	d := &dialer{stall: 200 * time.Millisecond}
	p := newPool(func(context.Context, bool) (*session, error) { return nil, ErrBusy }, 1, time.Minute, slog.New(slog.DiscardHandler))
	defer p.close()
	l := newLane(newEngine(p, d, time.Second))
	l.s, l.conn, l.moved = &session{dialer: d}, conn, time.Now()
	l.expects = []expect{{}} // there are replies to come
	fl := &flight{span: span{n: n}, f: &fetch{}, buf: make([]byte, n)}
	l.pipe = []*flight{fl}

	content := bytes.Repeat([]byte("trickle "), n/8)
	written := make(chan error, 1)
	filling, over := context.WithCancel(t.Context())
	defer over()
	go func() {
		_, err := server.Write(content[:piece])
		for err == nil { // until it was read: the rest finds the reader asleep
			l.mu.Lock()
			got := fl.got
			l.mu.Unlock()
			if got == piece {
				break
			}
			err = pause(filling, time.Millisecond)
		}
		if err == nil {
			_, err = server.Write(content[piece : 2*piece])
		}
		written <- err
	}()
	err = l.fill(fl, conn, settleTime)
	over()
	if werr := <-written; werr != nil {
		t.Fatal(werr)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server that fell silent: %v", err)
	}
	if fl.got != 2*piece || !bytes.Equal(fl.buf[:fl.got], content[:fl.got]) {
		t.Errorf("%d bytes of the %d that came", fl.got, 2*piece)
	}
}
