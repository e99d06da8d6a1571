package mounter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// A worker that is gone is not answered: the kernel is told to forget what it may
// learn for him meanwhile.
func TestPassingIsGivenUp(t *testing.T) {
	m := newTestManager(t)
	mt := newMount(t, m)
	p := &passer{m: m, mt: mt, owner: uint32(os.Geteuid()), turns: make(chan struct{}, passTurns), ids: make(map[int32]struct{})}
	n, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(n)
	file, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", n), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	node, err := wire.FromFD(ours)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := wire.FromFD(theirs)
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan struct{}), make(chan error, 1)
	peer := wire.NewPeer(t.Context(), node, wire.PeerConfig{Files: 1, Handle: func(ctx context.Context, r *wire.Request) (any, []*wire.FD, error) {
		close(began)
		result, files, err := p.handle(ctx, r)
		ended <- err
		return result, files, err
	}})
	defer func() { _ = peer.Close() }()
	worker := wire.NewPeer(t.Context(), conn, wire.PeerConfig{})
	m.mu.Lock() // nobody gets at the device
	go func() {
		lent := wire.NewFD(file)
		_ = worker.Call(t.Context(), wire.NodeBack, struct{}{}, nil, lent)
		_ = lent.Close()
	}()
	<-began
	_ = worker.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("given up with %v", err)
	}
	m.mu.Unlock()
}
