package uftptest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shapedPipe is an in-memory connection: the client's end, and the server's
// behind a link.
func shapedPipe(t *testing.T, l Link) (client net.Conn, server net.Conn) {
	t.Helper()
	client, raw := net.Pipe()
	sh := newShaper(func() Link { return l })
	server = sh.wrap(raw)
	t.Cleanup(func() {
		_ = client.Close()
		sh.close()
	})
	return client, server
}

func TestLinkDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Millisecond
		client, server := shapedPipe(t, Link{Delay: delay})
		start := time.Now()
		elapsed := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("%s after %v, want %v", what, got, want)
			}
		}
		buf := make([]byte, 10)
		write := func(c net.Conn, text string) {
			t.Helper()
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		}
		write(server, "220\n")
		_, _ = client.Read(buf)
		elapsed("the greeting", 4*delay) // two round trips: TCP's handshake, and its own way
		start = time.Now()
		write(client, "NOOP\n")
		_, _ = server.Read(buf)
		elapsed("a command", delay)
		write(server, "200\n")
		_, _ = client.Read(buf)
		elapsed("a reply", 2*delay)
	})
}

// What the client sends at once waits for the handshake that did not happen.
func TestLinkHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Millisecond
		client, server := shapedPipe(t, Link{Delay: delay})
		start := time.Now()
		_, _ = io.WriteString(client, "early")
		_, _ = server.Read(make([]byte, 10))
		if got := time.Since(start); got != 3*delay {
			t.Errorf("after %v, want %v", got, 3*delay)
		}
	})
}

// A delay is no limit of throughput, and bandwidth is one for both directions.
func TestLinkBandwidth(t *testing.T) {
	const size = 10_000_000
	for _, tt := range []struct {
		link Link
		want time.Duration
	}{
		{Link{Delay: 50 * time.Millisecond}, 200 * time.Millisecond},
		{Link{Bandwidth: size}, time.Second},
		{Link{Delay: 50 * time.Millisecond, Bandwidth: 2 * size}, 700 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := shapedPipe(t, tt.link)
			start := time.Now()
			sent := pattern(size)
			go func() {
				_, _ = server.Write(sent)
				_ = server.Close()
			}()
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%+v: %d bytes, %v", tt.link, len(got), err)
			}
			if d := time.Since(start); d < tt.want || d > tt.want+5*time.Millisecond {
				t.Errorf("%+v: took %v, want %v", tt.link, d, tt.want)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			client, server := shapedPipe(t, tt.link)
			sent := pattern(size)
			go func() {
				_, _ = client.Write(sent)
				_ = client.Close()
			}()
			got, err := io.ReadAll(server)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%+v, to the server: %d bytes, %v", tt.link, len(got), err)
			}
		})
	}
}

// A timer that fires between its setting and the wait for it wakes the waiter
// all the same: it has to wait for the lock that the waiter holds until then.
func TestLinkWakeUpIsNotLost(t *testing.T) {
	for _, name := range []string{"reader", "writer"} {
		t.Run(name, func(t *testing.T) {
			d := newDelayLine(Link{Delay: time.Hour}, time.Now())
			timer := d.pullTime
			if name == "writer" {
				timer = d.pushTime
			}
			awake := make(chan struct{})
			go func() {
				defer close(awake)
				d.mu.Lock()
				defer d.mu.Unlock()
				timer.Reset(0)
				<-time.After(20 * time.Millisecond) // as long as a busy machine takes between the two
				d.cond.Wait()
			}()
			select {
			case <-awake:
			case <-time.After(10 * time.Second):
				t.Error("the wake-up was lost")
				d.stop(net.ErrClosed)
				<-awake
			}
		})
	}
}

// Many waits for moments that are all but there.
func TestLinkStress(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() {
			d := newDelayLine(Link{Delay: time.Microsecond, Bandwidth: 1 << 30}, time.Now())
			buf := make([]byte, 1)
			for range 2000 {
				if _, err := d.push(buf); err != nil {
					t.Error(err)
				}
				if _, err := d.Read(buf); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A sender is not further ahead of a slow link than a socket buffer.
func TestLinkBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := shapedPipe(t, Link{Bandwidth: 1000})
		if err := server.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := server.Write(make([]byte, 10*sendBuffer))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > sendBuffer+2*segmentSize || n < sendBuffer {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestLinkDeadlineAndAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := shapedPipe(t, Link{Delay: time.Hour})
		if err := server.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(client, "late")
		if _, err := server.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		_ = server.SetDeadline(time.Time{})
		_, _ = io.WriteString(server, "never seen")
		abort(server)
		if n, err := client.Read(make([]byte, 10)); !errors.Is(err, io.EOF) {
			t.Errorf("after abort: %d %v", n, err)
		}
		if _, err := server.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after abort: %v", err)
		}
	})
}

// The whole server behind a link: every round trip costs what it should.
func TestServerBehindLink(t *testing.T) {
	s := Start(t, Config{Quirks: Quirks{NoDelay: true}})
	const delay = 20 * time.Millisecond
	s.Faults().SetLink(Link{Delay: delay})
	p := &player{tb: t, s: s}
	defer p.close()
	p.line(`@ file f "0123456789"`)
	start := time.Now()
	p.line("@ session")
	if d := time.Since(start); d < 8*delay {
		t.Errorf("connect and login took %v, want four round trips", d)
	}
	start = time.Now()
	p.line("C: NOOP")
	if d := time.Since(start); d < 2*delay || d > 6*delay {
		t.Errorf("NOOP took %v, want one round trip", d)
	}
	start = time.Now()
	p.line("C: EPSV")
	p.line("C: RETR f")
	p.line("% recv eof")
	p.settle()
	if d := time.Since(start); d < 6*delay {
		t.Errorf("EPSV and RETR took %v, want three round trips, one for the connection", d)
	}
}

// The auth service is behind the same link.
func TestAuthBehindLink(t *testing.T) {
	s := Start(t, Config{})
	const delay = 10 * time.Millisecond
	s.Faults().SetLink(Link{Delay: delay})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CABundle())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	start := time.Now()
	resp, err := client.Get(s.InfoURL())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if d := time.Since(start); d < 6*delay {
		t.Errorf("took %v, want three round trips: TCP, TLS, HTTP", d)
	}
}

// Faults and counters belong to all instances of a server.
func TestInstancesShareFaults(t *testing.T) {
	s := Start(t, Config{Instances: 2})
	s.Faults().Inject(-1, Fault{Verb: FaultConnect, Reply: "421 no"})
	p := &player{tb: t, s: s}
	for _, b := range s.backends {
		_, _, port, _, err := b.ping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn := p.dial(port)
		if got, err := io.ReadAll(conn); string(got) != "421 no\n" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		_ = conn.Close()
	}
	if got := s.Stats().Connections; got != 2 {
		t.Errorf("%d connections counted, want 2", got)
	}
}
