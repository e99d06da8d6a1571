// Command link is a network between client and server: it forwards the control
// connections that come to -listen, and the data connections that go with them,
// and delivers each byte after -delay, at most -bandwidth bytes a second on each
// connection and direction.
//
//	link -listen 127.0.0.2:PORT -to 127.0.0.1:PORT -delay 20ms -bandwidth 50000000
//
// The ports in EPSV replies become ports of its own. It prints the address it
// listens at when it does, and ends with SIGTERM. With -probe it starts such a
// link to a source of its own and prints what that can do: a benchmark over a
// link that is itself the limit says nothing. Control connections have the short
// segments of a real network.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// line is what each direction of each connection is like.
type line struct {
	delay     time.Duration // one way
	bandwidth int64         // bytes per second, 0 for no limit
	window    int           // most bytes on their way
}

func main() {
	var l line
	listen := flag.String("listen", "127.0.0.1:0", "`ADDRESS` where clients come")
	to := flag.String("to", "", "`ADDRESS` of the server's control port")
	plain := flag.Bool("plain", false, "forward what comes as it is")
	probe := flag.Int("probe", 0, "measure the link with this many connections")
	flag.DurationVar(&l.delay, "delay", 0, "time a byte takes one way")
	flag.Int64Var(&l.bandwidth, "bandwidth", 0, "bytes per second of each connection and direction; 0 is no limit")
	flag.IntVar(&l.window, "window", 64<<20, "bytes that may be under way on each connection and direction")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, l, *listen, *to, !*plain, *probe)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, l line, listen, to string, control bool, probes int) error {
	if probes > 0 {
		p, err := probe(ctx, l, probes)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(p)
	}
	lc := net.ListenConfig{}
	if control {
		lc.Control = shortSegments
	}
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() { // the process ends with ctx
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go newConnection(l, client).forward(ctx, to, control)
		}
	}()
	<-ctx.Done()
	return nil
}
