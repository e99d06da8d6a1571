package uftp_test

import (
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestQuickAck does not wait 40 ms for each reply, which the server's kernel
// sends in pieces, the second after an acknowledgement of the first.
func TestQuickAck(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "data", pattern(1000, 26))
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		p := make([]byte, 1000)
		const n, delay = 20, 40 * time.Millisecond
		best := time.Hour
		for range 5 { // the machine may be busy
			start := time.Now()
			for range n {
				if _, err := c.ReadAt(t.Context(), "data", p, 0); err != nil {
					t.Fatal(err)
				}
			}
			best = min(best, time.Since(start))
		}
		if best > n*delay/2 {
			t.Errorf("%d reads took %v: acknowledgements are delayed", n, best)
		}
	})
}

// TestQuickAckOfData reads small ranges by turns and together, in one session: the
// server sends no range before it has an acknowledgement of the one before, which
// must not be delayed.
func TestQuickAckOfData(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		const n, readers = 4096, 4
		s.WriteFile(t, "data", pattern(100*n, 27))
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		read := func(count int) {
			p := make([]byte, n)
			for i := range count {
				if _, err := c.ReadAt(t.Context(), "data", p, int64(i)*n); err != nil {
					t.Error(err)
				}
			}
		}
		best := func(work func()) time.Duration {
			least := time.Hour
			for range 7 { // the machine may be busy
				start := time.Now()
				work()
				least = min(least, time.Since(start))
			}
			return least
		}
		alone := best(func() { read(100) })
		together := best(func() {
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() { read(100 / readers) })
			}
			wg.Wait()
		})
		if together > 3*alone {
			t.Errorf("100 reads took %v, one after another %v", together, alone)
		}
	})
}
