package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// epsvTimeout is a little longer than a server waits for its data connection.
const epsvTimeout = 35 * time.Second

// epsv rewrites the replies of a control connection.
type epsv struct {
	ctx            context.Context // of the process
	line           line
	client, server net.Addr // where the client came to, and the server's address
	partial        []byte   // of a line
}

// rewrite returns whole lines only, and a port of ours in place of the server's
// in those that announce one.
func (e *epsv) rewrite(data []byte) []byte {
	e.partial = append(e.partial, data...)
	end := bytes.LastIndexByte(e.partial, '\n') + 1
	lines := append([]byte(nil), e.partial[:end]...)
	e.partial = append(e.partial[:0], e.partial[end:]...)
	if !bytes.HasPrefix(lines, []byte("229 ")) && !bytes.Contains(lines, []byte("\n229 ")) {
		return lines
	}
	var out []byte
	for line := range bytes.Lines(lines) {
		if bytes.HasPrefix(line, []byte("229 ")) {
			line = e.announce(line)
		}
		out = append(out, line...)
	}
	return out
}

// announce opens a port for the connection that a reply "... (|||PORT|)" is about.
func (e *epsv) announce(reply []byte) []byte {
	parts := bytes.Split(reply, []byte("|"))
	if len(parts) != 5 {
		return reply
	}
	serverHost, _, err := net.SplitHostPort(e.server.String())
	if err != nil {
		return reply
	}
	host, _, err := net.SplitHostPort(e.client.String())
	if err != nil {
		return reply
	}
	to := net.JoinHostPort(serverHost, string(parts[3]))
	ln, err := (&net.ListenConfig{}).Listen(e.ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Appendf(nil, "425 link: %v\n", err)
	}
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(epsvTimeout))
	go func() { // ends by its deadline
		client, err := ln.Accept()
		_ = ln.Close()
		if err == nil {
			newConnection(e.line, client).forward(e.ctx, to, false)
		}
	}()
	parts[3] = strconv.AppendInt(nil, int64(ln.Addr().(*net.TCPAddr).Port), 10)
	return bytes.Join(parts, []byte("|"))
}
