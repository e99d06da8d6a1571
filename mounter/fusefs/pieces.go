package fusefs

import (
	"context"
	"sync"
	"time"
)

const (
	// uploadPiece is the most bytes of a batch, which the server confirms
	// together.
	uploadPiece = 4 << 20
	// nearPieces bounds the batches of a file that are under way at a time, each in
	// a session of its own; farPieces does where each waits for a round trip of
	// farTrip or more, and a connection may carry little.
	nearPieces, farPieces = 4, 8
	farTrip               = 10 * time.Millisecond
)

// pieces lends the buffers that data is copied into on its way to the server.
// They are a part of what a mount may hold of data that is not there yet.
type pieces struct {
	size  int           // of each, in bytes
	slots chan struct{} // a token for each that is lent
	pool  sync.Pool     // of *[]byte: what is not lent is the garbage collector's
}

// newPieces makes pieces that take at most half of limit, and returns how much
// that leaves.
func newPieces(limit int64) (p *pieces, left int64) {
	p = &pieces{size: int(min(uploadPiece, limit/2/farPieces)), slots: make(chan struct{}, farPieces)}
	p.pool.New = func() any { b := make([]byte, p.size); return &b }
	return p, limit - int64(farPieces*p.size)
}

// most is how many batches of a file may be under way, to a server so far away.
func (p *pieces) most(roundTrip time.Duration) int {
	if roundTrip >= farTrip {
		return farPieces
	}
	return nearPieces
}

// get waits for a buffer, which must be given back.
func (p *pieces) get(ctx context.Context) (*[]byte, error) {
	select {
	case p.slots <- struct{}{}:
		return p.pool.Get().(*[]byte), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pieces) put(b *[]byte) {
	p.pool.Put(b)
	<-p.slots
}
