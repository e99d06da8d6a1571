package uftp_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestLateWrites loses a session while the server holds bytes that it writes
// later. Newer bytes at the same place, written in between, must not be
// overwritten with them; neither by a single packet nor through the pipe.
func TestLateWrites(t *testing.T) {
	t.Run("small", func(t *testing.T) { testLateWrites(t, 100<<10) })
	t.Run("pipe", func(t *testing.T) { testLateWrites(t, 2*pieceSize) })
}

func testLateWrites(t *testing.T, size int) {
	const late = 1500 * time.Millisecond // when the server writes what it holds
	for name, tt := range map[string]struct {
		ioTimeout, lateTime, late time.Duration
		forget                    bool // the network forgets all connections
		cancel                    bool // the caller gives up instead
		atMost                    time.Duration
	}{
		"network forgets":              {ioTimeout: 20 * time.Second, lateTime: 3 * time.Second, late: late, forget: true, atMost: 15 * time.Second},
		"server is silent":             {ioTimeout: 4 * time.Second, lateTime: time.Minute, late: late, atMost: 4 * time.Second},
		"caller gives up":              {ioTimeout: 20 * time.Second, lateTime: 3 * time.Second, late: 3 * time.Second, cancel: true, atMost: 15 * time.Second},
		"caller gives up, server ends": {ioTimeout: 20 * time.Second, lateTime: time.Minute, late: time.Second, cancel: true, atMost: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			network := &forgetful{}
			t.Cleanup(network.close)
			c := open(t, s, func(c *uftp.Config) { c.IOTimeout, c.Dial = tt.ioTimeout, network.dial })
			uftp.SetLateTime(c, tt.lateTime)
			older, newer := pattern(size, 40), pattern(size, 41)
			// So far away that all is sent before an answer comes: what moves while the
			// client waits for one makes it wait for longer.
			s.Faults().SetLink(uftptest.Link{Delay: 10 * time.Millisecond})
			s.Faults().Inject(1, uftptest.Fault{Verb: "STOR", Transfer: true, After: 1000, Delay: tt.late})

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				eventually(t, "the server has begun", func() bool {
					fi, err := os.Stat(filepath.Join(s.Dir(), "f"))
					return err == nil && fi.Size() == 1000
				})
				switch {
				case tt.forget:
					network.forget()
				case tt.cancel:
					cancel()
				}
			})
			start := time.Now()
			_, err := c.WriteAt(ctx, "f", older, 0)
			if tt.cancel && err != nil {
				wantErr(t, err, context.Canceled)
			} else {
				check(t, err)
			}
			_, err = c.WriteAt(t.Context(), "f", newer, 0)
			check(t, err)
			took := time.Since(start)
			eventually(t, "the lost session wrote what it had", func() bool { return s.Stats().Transfers >= 3 || tt.cancel && s.Stats().Transfers >= 2 })
			if got := local(t, s, "f"); !bytes.Equal(got, newer) {
				t.Errorf("newer bytes are lost; the older ones are there: %v", bytes.Equal(got[1000:], older[1000:]))
			}
			if took > tt.atMost {
				t.Errorf("took %v: the end of the server's process was not seen", took)
			}
		})
	}
}

// forgetful is a network that may forget its connections, as one does that
// translates addresses: the client's side is reset, the server's hears nothing.
type forgetful struct {
	mu    sync.Mutex
	conns []*forgotten
}

func (f *forgetful) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &forgotten{TCPConn: conn.(*net.TCPConn)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, c)
	return c, nil
}

func (f *forgetful) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.mu.Lock()
		c.gone = true
		_ = c.SetDeadline(time.Now()) // wakes who waits
		c.mu.Unlock()
	}
}

func (f *forgetful) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.TCPConn.Close()
	}
}

type forgotten struct {
	*net.TCPConn
	mu   sync.Mutex
	gone bool
}

func (c *forgotten) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

func (c *forgotten) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if c.isGone() {
		return 0, syscall.ECONNRESET
	}
	return n, err
}

func (c *forgotten) Write(p []byte) (int, error) {
	if c.isGone() {
		return 0, syscall.ECONNRESET
	}
	return c.TCPConn.Write(p)
}

func (c *forgotten) CloseWrite() error {
	if c.isGone() {
		return syscall.ENOTCONN
	}
	return c.TCPConn.CloseWrite()
}

func (c *forgotten) Close() error {
	if c.isGone() {
		return nil
	}
	return c.TCPConn.Close()
}
