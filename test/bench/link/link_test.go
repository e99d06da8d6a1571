package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// listen opens a port and gives its first connection to serve.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			serve(conn)
			_ = conn.Close()
		}
	}()
	return ln.Addr().String()
}

// through is a client's connection to a server behind the line.
func through(t *testing.T, l line, server string, control bool) net.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	address := listen(t, func(conn net.Conn) {
		defer close(done)
		newConnection(l, conn).forward(ctx, server, control)
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); cancel(); <-done })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestDelayAndBandwidth(t *testing.T) {
	const size = 1 << 20
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	server := listen(t, func(c net.Conn) { _, _ = c.Write(content) })
	l := line{delay: 10 * time.Millisecond, bandwidth: 10 << 20, window: 1 << 20}
	begin := time.Now()
	conn := through(t, l, server, false)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Error("other bytes came out than went in")
	}
	// The handshake, the way back, and a tenth of a second for the bytes.
	if took, least := time.Since(begin), 4*l.delay+100*time.Millisecond; took < least {
		t.Errorf("it took %v, less than %v", took, least)
	}
}

func TestDataConnection(t *testing.T) {
	data := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "content") })
	_, port, _ := net.SplitHostPort(data)
	server := listen(t, func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		_, _ = fmt.Fprintf(c, "200 %s229 Entering Extended Passive Mode (|||%s|)\n200 bye\n", line, port)
	})
	l := line{delay: time.Millisecond, window: 1 << 20}
	conn := through(t, l, server, true)
	if _, err := io.WriteString(conn, "EPSV\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(conn)
	var replies []string
	for range 3 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, strings.TrimSpace(line))
	}
	if replies[0] != "200 EPSV" || replies[2] != "200 bye" {
		t.Errorf("replies are %q", replies)
	}
	parts := strings.Split(replies[1], "|")
	if len(parts) != 5 || parts[3] == port {
		t.Fatalf("%q does not announce a port of the link's own, but %s is the server's", replies[1], port)
	}
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", parts[3]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, err := io.ReadAll(c); err != nil || string(got) != "content" {
		t.Errorf("data connection: %q, %v", got, err)
	}
}

// TestReset has the server's death reach the client.
func TestReset(t *testing.T) {
	server := listen(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	conn := through(t, line{window: 1 << 20}, server, false)
	if _, err := conn.Write([]byte("xx")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading from a dead server: %v", err)
	}
}
