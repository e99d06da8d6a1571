package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// connection is a client's connection and the one to the server that goes with
// it.
type connection struct {
	line           line
	client, server net.Conn
	up, down       *queue
	buffers        sync.Pool // of *[]byte, readSize long
}

// newConnection takes over what was just accepted. TCP's handshake takes one and
// a half round trips until the server knows of it.
func newConnection(l line, client net.Conn) *connection {
	known := time.Now().Add(3 * l.delay)
	c := &connection{line: l, client: client, up: newQueue(l, known), down: newQueue(l, known)}
	c.buffers.New = func() any { b := make([]byte, readSize); return &b }
	return c
}

// forward is the connection's life.
func (c *connection) forward(ctx context.Context, to string, control bool) {
	defer func() { _ = c.client.Close() }()
	if !arrive(ctx, time.Now().Add(3*c.line.delay)) {
		return
	}
	var err error
	d := net.Dialer{}
	if control {
		d.Control = shortSegments
	}
	if c.server, err = d.DialContext(ctx, "tcp", to); err != nil {
		return
	}
	defer func() { _ = c.server.Close() }()
	rewrite := func(data []byte) []byte { return data }
	if control {
		e := &epsv{ctx: ctx, line: c.line, client: c.client.LocalAddr(), server: c.server.RemoteAddr()}
		rewrite = e.rewrite
	}
	var group sync.WaitGroup
	group.Go(func() { c.receive(c.client, c.up, nil) })
	group.Go(func() { c.deliver(ctx, c.up, c.server) })
	group.Go(func() { c.receive(c.server, c.down, rewrite) })
	group.Go(func() { c.deliver(ctx, c.down, c.client) })
	group.Wait()
}

// receive moves what comes from a socket into a queue.
func (c *connection) receive(from net.Conn, q *queue, rewrite func([]byte) []byte) {
	size := readSize
	if c.line.bandwidth > 0 {
		size = pacedSize
	}
	for {
		buf := c.buffers.Get().(*[]byte)
		n, err := from.Read((*buf)[:size])
		data := (*buf)[:n]
		if n < smallSize {
			data = append([]byte(nil), data...)
			c.buffers.Put(buf)
		}
		if rewrite != nil {
			data = rewrite(data)
		}
		if len(data) > 0 && !q.put(data, false) {
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			q.put(nil, true)
			return
		case err != nil:
			c.abort()
			return
		}
	}
}

// deliver moves what has arrived into a socket.
func (c *connection) deliver(ctx context.Context, q *queue, to net.Conn) {
	for {
		chunk, ok := q.take(ctx)
		if !ok {
			return
		}
		if chunk.end {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		_, err := to.Write(chunk.data)
		q.taken(len(chunk.data))
		if cap(chunk.data) == readSize {
			full := chunk.data[:readSize]
			c.buffers.Put(&full)
		}
		if err != nil {
			c.abort()
			return
		}
	}
}

// abort ends both directions at once, as a reset does.
func (c *connection) abort() {
	c.up.kill()
	c.down.kill()
	for _, conn := range []net.Conn{c.client, c.server} {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}
