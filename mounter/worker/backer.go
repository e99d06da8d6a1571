package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// passer is a file system that can have the kernel read files itself.
type passer interface{ PassThrough(fusefs.Backer) }

const (
	// backTimeout bounds the wait for the node while somebody waits in open.
	backTimeout = time.Second
	// backRest is how long nothing is asked after the node or the kernel said
	// no: it is about the file system, the kernel or privileges, and the next
	// file would fare no better.
	backRest = time.Minute
	// mostAsked bounds the questions to a node that are not answered.
	mostAsked = 16
)

// errNoNode means that there is no node to ask right now.
var errNoNode = errors.New("no node to ask")

// backer asks the node, which may, to tell the kernel of files. It implements
// [fusefs.Backer].
type backer struct {
	log    *slog.Logger
	asking atomic.Int32 // questions that are not answered

	mu      sync.Mutex // guards what follows
	peer    *wire.Peer // nil before the first connect
	resting time.Time  // until then
	told    bool       // why nothing is passed through
	left    []int32    // to be ended when there is a node again
}

// connect takes the node's socket.
func (b *backer) connect(ctx context.Context, socket *wire.FD) error {
	conn, err := wire.FromFD(socket)
	if err != nil {
		return err
	}
	next := wire.NewPeer(context.WithoutCancel(ctx), conn, wire.PeerConfig{})
	b.mu.Lock()
	last, left := b.peer, b.left
	b.peer, b.left, b.resting = next, nil, time.Time{}
	b.mu.Unlock()
	if last != nil {
		_ = last.Close()
	}
	for _, id := range left {
		b.Unback(id)
	}
	return nil
}

func (b *backer) node() (*wire.Peer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peer == nil || time.Now().Before(b.resting) {
		return nil, errNoNode
	}
	return b.peer, nil
}

// Back implements [fusefs.Backer].
func (b *backer) Back(ctx context.Context, f *os.File) (int32, error) {
	node, err := b.node()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, backTimeout)
	defer cancel()
	id, err := b.ask(ctx, node, f)
	if err != nil {
		b.refused(err)
		return 0, fmt.Errorf("pass a file through: %w", err)
	}
	return id, nil
}

// ask asks a node to tell the kernel of f, and waits for the answer until ctx ends.
// One that comes later is heard too: the kernel keeps what it was told of, and
// only we know that nobody wants it.
func (b *backer) ask(ctx context.Context, node *wire.Peer, f *os.File) (int32, error) {
	if b.asking.Add(1) > mostAsked {
		b.asking.Add(-1)
		return 0, errors.New("too many files are asked about")
	}
	original := wire.NewFD(int(f.Fd()))
	lent, err := original.Dup() // the caller closes his when we return
	original.Release()
	if err != nil {
		b.asking.Add(-1)
		return 0, err
	}
	type answer struct {
		id  int32
		err error
	}
	answers := make(chan answer)
	go func() { // ends with the connection
		defer b.asking.Add(-1)
		var result wire.BackResult
		err := node.Call(context.WithoutCancel(ctx), wire.NodeBack, struct{}{}, &result, lent)
		_ = lent.Close()
		select {
		case answers <- answer{result.ID, err}:
		case <-ctx.Done():
			if err == nil {
				b.Unback(result.ID)
			}
		}
	}()
	select {
	case a := <-answers:
		return a.id, a.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// refused notes that nothing is to be passed for a while, and says why, once.
func (b *backer) refused(err error) {
	if errors.Is(err, context.Canceled) {
		return // whoever opens has given up
	}
	b.mu.Lock()
	b.resting = time.Now().Add(backRest)
	told := b.told
	b.told = true
	b.mu.Unlock()
	if !told {
		b.log.Info("whole files on the disk are not passed to the kernel; they are served from the cache", "reason", err.Error())
	}
}

// Unback implements [fusefs.Backer].
func (b *backer) Unback(id int32) {
	b.mu.Lock()
	node := b.peer
	b.mu.Unlock()
	if node != nil && node.Notify(wire.NodeUnback, wire.UnbackParams{ID: id}) == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = append(b.left, id)
}
