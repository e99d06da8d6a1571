package uftp

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// repeating is a server that says the same for ever.
type repeating struct {
	net.Conn // panics
	text     []byte
	at       int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func (*repeating) SetReadDeadline(time.Time) error { return nil }

// BenchmarkReplies reads what is said of a range, and of the file behind it.
func BenchmarkReplies(b *testing.B) {
	const said = "350 Restarting at 1048576. Use RETR/STOR to initiate transfer.\r\n" +
		"150 OK 1048576 bytes available\r\n" +
		"226 File transfer successful\r\n" +
		"211- Sending file information\r\n -rw- 1073741824 20261127101112 f\r\n211 End of file information\r\n"
	c := newControl(&repeating{text: []byte(said)}, time.Minute, new(atomic.Int64))
	b.SetBytes(int64(len(said)))
	b.ReportAllocs()
	for b.Loop() {
		for _, want := range []int{350, 150, 226, 211} {
			if r, err := c.readReply(); err != nil || r.code != want {
				b.Fatalf("%+v, %v, want %d", r, err, want)
			}
		}
	}
}
