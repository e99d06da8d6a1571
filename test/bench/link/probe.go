package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probed is what a link can do.
type probed struct {
	RoundTrip time.Duration `json:"roundtrip_ns"`
	// Ceiling is what it carries in one direction on all connections together, in
	// bytes per second, when nothing but the machine limits it.
	Ceiling float64 `json:"ceiling"`
	// Rate is the same with its limit of bandwidth.
	Rate float64 `json:"rate"`
}

const probeTime = 1500 * time.Millisecond

// probe starts links to a source in this process, and measures them.
func probe(ctx context.Context, l line, connections int) (probed, error) {
	var p probed
	source, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return p, err
	}
	defer func() { _ = source.Close() }()
	go serveSource(source)
	limited, err := measure(ctx, l, source.Addr().String(), connections)
	if err != nil {
		return p, err
	}
	p = probed{limited.RoundTrip, limited.Rate, limited.Rate}
	if l.bandwidth > 0 {
		l.bandwidth = 0
		free, err := measure(ctx, l, source.Addr().String(), connections)
		if err != nil {
			return p, err
		}
		p.Ceiling = free.Rate
	}
	return p, nil
}

// serveSource answers a byte with a byte, and 's' with a stream without end.
func serveSource(ln net.Listener) {
	stream := make([]byte, 1<<20)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			b := make([]byte, 1)
			for {
				if _, err := conn.Read(b); err != nil {
					return
				}
				for b[0] == 's' {
					if _, err := conn.Write(stream); err != nil {
						return
					}
				}
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
	}
}

// measure starts a link as a process of its own.
func measure(ctx context.Context, l line, source string, connections int) (p probed, err error) {
	self, err := os.Executable()
	if err != nil {
		return p, err
	}
	cmd := exec.CommandContext(ctx, self, "-plain", "-to", source, "-delay", l.delay.String(),
		"-bandwidth", strconv.FormatInt(l.bandwidth, 10), "-window", strconv.Itoa(l.window))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, cmd.Wait())
	}()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return p, fmt.Errorf("the link did not start: %w", err)
	}
	address = strings.TrimSpace(address)
	if p.RoundTrip, err = roundTrip(ctx, address); err != nil {
		return p, err
	}
	p.Rate, err = throughput(ctx, address, connections)
	return p, err
}

// roundTrip is the least of several.
func roundTrip(ctx context.Context, address string) (time.Duration, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	least := time.Duration(0)
	b := []byte{'e'}
	for range 10 {
		begin := time.Now()
		if _, err := conn.Write(b); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return 0, err
		}
		if took := time.Since(begin); least == 0 || took < least {
			least = took
		}
	}
	return least, nil
}

// throughput counts what comes on all connections between the first byte and
// the end of the time, which the slow start of the first round trips is not part
// of.
func throughput(ctx context.Context, address string, connections int) (float64, error) {
	var group sync.WaitGroup
	rates, errs := make([]float64, connections), make([]error, connections)
	for i := range connections {
		group.Go(func() { rates[i], errs[i] = receiveFor(ctx, address) })
	}
	group.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum, errors.Join(errs...)
}

func receiveFor(ctx context.Context, address string) (float64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte{'s'}); err != nil {
		return 0, err
	}
	buf := make([]byte, 512<<10)
	if _, err := conn.Read(buf); err != nil {
		return 0, err
	}
	begin, total := time.Now(), 0
	for time.Since(begin) < probeTime {
		n, err := conn.Read(buf)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return float64(total) / time.Since(begin).Seconds(), nil
}
