package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
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
)

// errNoNode means that there is no node to ask right now.
var errNoNode = errors.New("no node to ask")

// backer asks the node, which may, to tell the kernel of files. It implements
// [fusefs.Backer].
type backer struct {
	log *slog.Logger

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
	lent := wire.NewFD(int(f.Fd()))
	defer lent.Release()
	var result wire.BackResult
	if err := node.Call(ctx, wire.NodeBack, struct{}{}, &result, lent); err != nil {
		b.refused(err)
		return 0, fmt.Errorf("pass a file through: %w", err)
	}
	return result.ID, nil
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
