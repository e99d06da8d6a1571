package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// hostile returns a peer and the bare socket of whoever is at its other end.
func hostile(t *testing.T, cfg wire.PeerConfig) (*wire.Peer, *net.UnixConn) {
	t.Helper()
	a, b := conns(t)
	p := wire.NewPeer(context.Background(), a, cfg)
	t.Cleanup(func() { _ = p.Close() })
	return p, b
}

// pipe returns the reading end of a pipe, and the number of the other.
func pipe(t *testing.T) (r *wire.FD, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r = wire.NewFD(fds[0])
	t.Cleanup(func() { _ = r.Close() })
	return r, fds[1]
}

func wantHangUp(t *testing.T, r *wire.FD) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(r.Int()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 5000); err != nil || n != 1 || poll[0].Revents&unix.POLLHUP == 0 {
		t.Errorf("a descriptor is still open somewhere: %d, %v", n, err)
	}
}

// Whoever sends what was not agreed on loses the connection, and leaves nothing.
func TestBreaches(t *testing.T) {
	tests := []struct {
		name    string
		cfg     wire.PeerConfig
		message string
		files   int
	}{
		{"a request to one who serves none", wire.PeerConfig{Files: 1}, `{"v":1,"id":1,"method":"x"}`, 1},
		{"a descriptor to one who takes none", wire.PeerConfig{}, `{"v":1,"id":1,"result":{}}`, 1},
		{"two descriptors for one", wire.PeerConfig{Files: 1}, `{"v":1,"id":1,"result":{}}`, 2},
		{"no message", wire.PeerConfig{Files: 1}, `{`, 1},
		{"deeply nested", wire.PeerConfig{}, `{"v":1,"id":1,"result":` + strings.Repeat("[", 60000) + strings.Repeat("]", 60000) + `}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, far := hostile(t, tt.cfg)
			r, w := pipe(t)
			fds := make([]int, tt.files)
			for i := range fds {
				fds[i] = w
			}
			var rights []byte
			if tt.files > 0 {
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := far.WriteMsgUnix([]byte(tt.message), rights, nil); err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(w)
			<-p.Done()
			if err := p.Err(); !errors.Is(err, wire.ErrMessage) {
				t.Errorf("ended with %v, want ErrMessage", err)
			}
			wantHangUp(t, r)
		})
	}
}

// Descriptors that come with replies nobody wanted them with are closed.
func TestFloodOfDescriptors(t *testing.T) {
	r, w := pipe(t)
	p := peers(t, func(context.Context, *wire.Request) (any, []*wire.FD, error) {
		n, err := unix.FcntlInt(uintptr(w), unix.F_DUPFD_CLOEXEC, 3)
		return nil, []*wire.FD{wire.NewFD(n)}, err
	})
	for range 100 {
		if err := p.Call(t.Context(), "stats", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = unix.Close(w)
	wantHangUp(t, r)
}

// A long error does not get longer on its way, and one that was never cut is cut.
func TestErrorsAreCut(t *testing.T) {
	p, far := hostile(t, wire.PeerConfig{})
	long := strings.Repeat("x", 100_000)
	go func() {
		_, _ = far.Read(make([]byte, 1000))
		_, _ = fmt.Fprintf(far, `{"v":1,"id":1,"error":{"text":%q}}`, long)
	}()
	if err := p.Call(t.Context(), "x", nil, nil); err == nil || len(err.Error()) > 4096 {
		t.Errorf("an error of %d bytes", len(fmt.Sprint(err)))
	}
	once := wire.EncodeError(errors.New(long))
	if twice := wire.EncodeError(once.Decode()); twice.Text != once.Text {
		t.Errorf("%d bytes become %d", len(once.Text), len(twice.Text))
	}
}

// Beyond what is served at a time requests are refused, and those that are
// served can still be cancelled.
func TestCrowd(t *testing.T) {
	entered := make(chan struct{}, 1000)
	p := peers(t, func(ctx context.Context, _ *wire.Request) (any, []*wire.FD, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	const limit = 256
	results := make(chan error, limit)
	for range limit {
		go func() { results <- p.Call(ctx, "wait", nil, nil) }()
	}
	for range limit {
		<-entered
	}
	if err := p.Call(t.Context(), "wait", nil, nil); err == nil || !strings.Contains(err.Error(), "at a time") {
		t.Errorf("one more: %v, want a refusal", err)
	}
	cancel()
	for range limit {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}
