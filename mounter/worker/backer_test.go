package worker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// fakeNode answers a backer.
type fakeNode struct {
	peer *wire.Peer

	answer  chan struct{} // if not nil, answers wait for it
	mu      sync.Mutex
	asked   int
	refuse  error
	unknown []int32 // what it was told to forget
}

// connectNode connects b to a node.
func connectNode(t *testing.T, b *backer) *fakeNode {
	t.Helper()
	ours, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := wire.FromFD(ours)
	if err != nil {
		t.Fatal(err)
	}
	n := new(fakeNode)
	n.peer = wire.NewPeer(context.Background(), conn, wire.PeerConfig{Handle: n.handle, Event: n.event, Files: 1})
	t.Cleanup(func() { _ = n.peer.Close() })
	if err := b.connect(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.peer.Close() })
	return n
}

func (n *fakeNode) handle(_ context.Context, r *wire.Request) (any, []*wire.FD, error) {
	file, err := r.Take(0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	n.mu.Lock()
	n.asked++
	id, wait, refuse := int32(n.asked), n.answer, n.refuse
	n.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return wire.BackResult{ID: id}, nil, refuse
}

func (n *fakeNode) event(method string, params json.RawMessage) {
	var u wire.UnbackParams
	if method != wire.NodeUnback || json.Unmarshal(params, &u) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unknown = append(n.unknown, u.ID)
}

func (n *fakeNode) requests() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *fakeNode) forgot() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.unknown)
}

// TestBacker: what the node says is passed on; after a no it is left alone, and
// the next node learns what the last one did not.
func TestBacker(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := &backer{log: testLog(t)}
	if _, err := b.Back(t.Context(), f); !errors.Is(err, errNoNode) {
		t.Errorf("without a node: %v", err)
	}
	n := connectNode(t, b)
	if id, err := b.Back(t.Context(), f); err != nil || id != 1 {
		t.Errorf("file %d, %v", id, err)
	}
	if _, err := f.Stat(); err != nil {
		t.Errorf("the file is closed: %v", err)
	}
	b.Unback(1)
	eventually(t, "the node forgets it", func() bool { return n.forgot() == 1 })
	n.mu.Lock()
	n.refuse = errors.ErrUnsupported
	n.mu.Unlock()
	if _, err := b.Back(t.Context(), f); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("refused: %v", err)
	}
	if _, err := b.Back(t.Context(), f); !errors.Is(err, errNoNode) || n.requests() != 2 {
		t.Errorf("asked %d times, and again: %v", n.requests(), err)
	}
	_ = n.peer.Close()
	<-b.peer.Done()
	b.Unback(2)
	b.Unback(3)
	next := connectNode(t, b)
	eventually(t, "the next node forgets them", func() bool { return next.forgot() == 2 })
	if id, err := b.Back(t.Context(), f); err != nil || id != 1 {
		t.Errorf("the next node: file %d, %v", id, err)
	}
}

// TestBackerHearsLateAnswers: what the kernel was told for somebody who has given up
// meanwhile it is told to forget.
func TestBackerHearsLateAnswers(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	b := &backer{log: testLog(t)}
	n := connectNode(t, b)
	answer := make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(answer) }))
	n.mu.Lock()
	n.answer = answer
	n.mu.Unlock()
	ctx, giveUp := context.WithCancel(t.Context())
	refused := make(chan error)
	for range mostAsked {
		go func() {
			_, err := b.ask(ctx, b.peer, f)
			refused <- err
		}()
	}
	eventually(t, "the node is asked", func() bool { return n.requests() == mostAsked })
	giveUp()
	for range mostAsked {
		if err := <-refused; !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	}
	if _, err := b.ask(t.Context(), b.peer, f); err == nil || n.requests() != mostAsked {
		t.Errorf("asked again before any answer came: %v", err)
	}
	_ = f.Close() // the node has its own
	for range mostAsked {
		answer <- struct{}{}
	}
	eventually(t, "the node forgets them", func() bool { return n.forgot() == mostAsked })
}
