package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func conns(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	x, y, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = wire.FromFD(x); err != nil {
		t.Fatal(err)
	}
	if b, err = wire.FromFD(y); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// peers connects a caller to somebody who answers with handle.
func peers(t *testing.T, handle wire.Handler) *wire.Peer {
	t.Helper()
	a, b := conns(t)
	caller := wire.NewPeer(context.Background(), a, wire.PeerConfig{Files: 1})
	callee := wire.NewPeer(context.Background(), b, wire.PeerConfig{Handle: handle, Files: 1})
	t.Cleanup(func() { _ = caller.Close(); _ = callee.Close() })
	return caller
}

type text struct{ S string }

func TestCallsOverlap(t *testing.T) {
	const n = 20
	var all sync.WaitGroup
	all.Add(n)
	p := peers(t, func(_ context.Context, r *wire.Request) (any, []*wire.FD, error) {
		var in text
		if err := r.Decode(&in); err != nil {
			return nil, nil, err
		}
		all.Done()
		all.Wait() // nobody is answered before all have asked
		return text{"re: " + in.S}, nil, nil
	})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			want := fmt.Sprint(i)
			var out text
			if err := p.Call(t.Context(), "echo", text{want}, &out); err != nil || out.S != "re: "+want {
				t.Errorf("call %d: %+v, %v", i, out, err)
			}
		})
	}
	group.Wait()
}

func TestDescriptorsTravel(t *testing.T) {
	p := peers(t, func(_ context.Context, r *wire.Request) (any, []*wire.FD, error) {
		f, err := r.Take(0)
		if err != nil {
			return nil, nil, err
		}
		return nil, []*wire.FD{f}, nil // there and back
	})
	f, err := wire.Seal("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	back, err := p.CallFiles(t.Context(), "mirror", nil, nil, f)
	if err != nil || len(back) != 1 {
		t.Fatalf("%d descriptors, %v", len(back), err)
	}
	defer func() { _ = back[0].Close() }()
	data, err := wire.ReadSealed(back[0])
	if err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	flags, err := unix.FcntlInt(uintptr(back[0].Int()), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received descriptor is inherited by children")
	}
}

func TestDescriptorsNotTakenAreClosed(t *testing.T) {
	p := peers(t, func(context.Context, *wire.Request) (any, []*wire.FD, error) { return nil, nil, nil })
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r, w := wire.NewFD(fds[0]), wire.NewFD(fds[1])
	defer func() { _ = r.Close() }()
	if err := p.Call(t.Context(), "ignore", nil, nil, w); err != nil {
		t.Error(err)
	}
	_ = w.Close()
	poll := []unix.PollFd{{Fd: int32(r.Int()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 5000); err != nil || n != 1 || poll[0].Revents&unix.POLLHUP == 0 {
		t.Errorf("the pipe is still open somewhere: %d, %v", n, err)
	}
}

func TestCancelReachesTheHandler(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	p := peers(t, func(ctx context.Context, _ *wire.Request) (any, []*wire.FD, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if err := p.Call(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("call: %v, want Canceled", err)
	}
	<-ended
}

func TestCallFailsWhenThePeerGoes(t *testing.T) {
	a, b := conns(t)
	p := wire.NewPeer(context.Background(), a, wire.PeerConfig{})
	defer func() { _ = p.Close() }()
	go func() {
		_, _ = b.Read(make([]byte, 1000))
		_ = b.Close()
	}()
	if err := p.Call(t.Context(), "x", nil, nil); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("call: %v, want ErrClosed", err)
	}
	<-p.Done()
	if err := p.Call(t.Context(), "x", nil, nil); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("call after the end: %v, want ErrClosed", err)
	}
}

func TestTooLong(t *testing.T) {
	long := strings.Repeat("x", wire.MaxMessage)
	p := peers(t, func(context.Context, *wire.Request) (any, []*wire.FD, error) { return text{long}, nil, nil })
	if err := p.Call(t.Context(), "x", text{long}, nil); !errors.Is(err, wire.ErrMessage) {
		t.Errorf("long request: %v, want ErrMessage", err)
	}
	if err := p.Call(t.Context(), "x", nil, &text{}); err == nil || !strings.Contains(err.Error(), "bad message") {
		t.Errorf("long reply: %v", err)
	}
	nearly := text{long[:wire.MaxMessage-100]}
	if err := p.Call(t.Context(), "x", nearly, nil); errors.Is(err, wire.ErrMessage) && strings.Contains(err.Error(), "descriptors") {
		t.Errorf("a message of nearly the maximum: %v", err)
	}
}

// Whatever comes, the peer hangs up and does not crash.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`{"v":1,"id":1,"method":"x"}`, `{"v":2,"id":1,"method":"x"}`, `{"v":1,"id":1,"result":{}}`, `{`, ``,
		`{"v":1,"id":1,"method":"cancel"}`, `{"v":1,"method":"event","params":[1]}`, `{"v":1,"id":9,"error":{"cause":"auth"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > wire.MaxMessage {
			return
		}
		x, y, err := wire.Pair()
		if err != nil {
			t.Fatal(err)
		}
		near, err := wire.FromFD(x)
		if err != nil {
			t.Fatal(err)
		}
		far, err := wire.FromFD(y)
		if err != nil {
			t.Fatal(err)
		}
		p := wire.NewPeer(context.Background(), near, wire.PeerConfig{Event: func(string, json.RawMessage) {}})
		_, _ = far.Write(b)
		_ = far.Close()
		<-p.Done()
	})
}

func TestErrorsKeepTheirCause(t *testing.T) {
	base := &uftp.Error{Op: "authenticate", Path: "https://x/rest/auth/T", Code: 403, Msg: "Forbidden", Err: uftp.ErrAuth}
	tests := []struct {
		name string
		err  error
		is   []error
		not  []error
		as   *uftp.Error
	}{
		{"auth", base, []error{uftp.ErrAuth}, []error{uftp.ErrUnavailable}, base},
		{"wrapped", fmt.Errorf("start: %w", base), []error{uftp.ErrAuth}, nil, base},
		{"busy", uftp.ErrBusy, []error{uftp.ErrBusy}, nil, nil},
		{"untrusted", fmt.Errorf("x: %w", uftp.ErrUntrusted), []error{uftp.ErrUntrusted, uftp.ErrUnavailable}, nil, nil},
		{"unavailable", uftp.ErrUnavailable, []error{uftp.ErrUnavailable}, []error{uftp.ErrUntrusted}, nil},
		{"protocol", uftp.ErrProtocol, []error{uftp.ErrProtocol}, nil, nil},
		{"not there", fs.ErrNotExist, []error{fs.ErrNotExist}, nil, nil},
		{"errno", unix.EACCES, []error{fs.ErrPermission}, nil, nil},
		{"exists", fs.ErrExist, []error{fs.ErrExist}, nil, nil},
		{"path", fs.ErrInvalid, []error{fs.ErrInvalid}, nil, nil},
		{"attribute", volume.ErrInvalid, []error{volume.ErrInvalid}, nil, nil},
		{"unsupported", errors.ErrUnsupported, []error{errors.ErrUnsupported}, nil, nil},
		{"deadline", context.DeadlineExceeded, []error{context.DeadlineExceeded}, nil, nil},
		{"canceled", context.Canceled, []error{context.Canceled}, nil, nil},
		{"closed", wire.ErrClosed, []error{wire.ErrClosed}, nil, nil},
		{"other", errors.New("a bug"), nil, []error{uftp.ErrAuth, fs.ErrNotExist}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := peers(t, func(context.Context, *wire.Request) (any, []*wire.FD, error) { return nil, nil, tt.err })
			err := p.Call(t.Context(), "x", nil, nil)
			if err == nil || err.Error() != tt.err.Error() {
				t.Fatalf("got %v, want the text %q", err, tt.err)
			}
			for _, want := range tt.is {
				if !errors.Is(err, want) {
					t.Errorf("errors.Is(%v) is false", want)
				}
			}
			for _, not := range tt.not {
				if errors.Is(err, not) {
					t.Errorf("errors.Is(%v) is true", not)
				}
			}
			got, ok := errors.AsType[*uftp.Error](err)
			if ok != (tt.as != nil) {
				t.Fatalf("errors.As *uftp.Error: %v", ok)
			}
			if ok && *got != *tt.as {
				t.Errorf("got %+v, want %+v", got, tt.as)
			}
		})
	}
}

func TestSealedMemoryDoesNotChange(t *testing.T) {
	f, err := wire.Seal("test", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := unix.Pwrite(f.Int(), []byte("X"), 0); err == nil {
		t.Error("sealed memory was written")
	}
	if err := unix.Ftruncate(f.Int(), 0); err == nil {
		t.Error("sealed memory was truncated")
	}
}

func TestUnsealedMemoryIsRefused(t *testing.T) {
	n, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := wire.NewFD(n)
	defer func() { _ = f.Close() }()
	if _, err := wire.ReadSealed(f); !errors.Is(err, wire.ErrNotSealed) {
		t.Errorf("unsealed memory: %v, want ErrNotSealed", err)
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, n := range fds {
		p := wire.NewFD(n)
		if _, err := wire.ReadSealed(p); !errors.Is(err, wire.ErrNotSealed) {
			t.Errorf("a pipe: %v, want ErrNotSealed", err)
		}
		_ = p.Close()
	}
}
