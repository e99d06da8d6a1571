package fusefs

import "time"

const (
	// nearPiece and farPiece are the most bytes of a batch, which the server
	// confirms together; the latter where a round trip takes farTrip or more, and many
	// batches are on their way in each session.
	nearPiece, farPiece = 4 << 20, 2 << 20
	farTrip             = 10 * time.Millisecond
	// leastPieces and mostPieces bound how many batches of a file are under way at a
	// time.
	leastPieces, mostPieces = 8, 128
	// onTheWay is which part of the limit of dirty data is not for the data itself but
	// for what sends it: the buffers of sessions, and memory that is waiting for the
	// garbage collector, which runs all the time if there is no room for that.
	onTheWay = 8
)

// pieces returns how large batches are that make limit bytes of dirty data, and
// how many of them may be under way, to a server so far away. They stay in the
// spool until the server has them, and take no other memory.
func pieces(limit int64, roundTrip time.Duration) (size int64, most int) {
	size = nearPiece
	if roundTrip >= farTrip {
		size = farPiece
	}
	size = min(size, limit/leastPieces)
	return size, int(min(limit/size, mostPieces))
}
