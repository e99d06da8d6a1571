package uftp_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// stream reads pieces of a file over and over, n at a time, until enough is true.
func stream(t *testing.T, c *uftp.Client, n int, data []byte, size int, enough func(read int64) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var next, read atomic.Int64
	for range n {
		wg.Go(func() {
			p := make([]byte, size)
			for ctx.Err() == nil {
				off := int(next.Add(1)) * size % (len(data) - size + 1)
				if _, _, err := c.Fetch(t.Context(), uftp.Read{Path: "data", Off: int64(off), Buf: p}); err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(p, data[off:off+size]) {
					t.Errorf("wrong bytes at %d", off)
					return
				}
				if enough(read.Add(int64(size))) {
					cancel()
				}
			}
		})
	}
	wg.Wait()
}

// TestLanes reads over a link that gives each connection little: more of them are
// opened, as many as help, and others are still served at once.
func TestLanes(t *testing.T) {
	t.Parallel()
	const each = 6 << 20 // bytes per second
	for _, limit := range []int{1, 4} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: limit})
			data := pattern(16<<20, 90)
			old(t, s, "data", data)
			s.Faults().SetLink(uftptest.Link{Delay: 5 * time.Millisecond, Bandwidth: each})
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 8 })
			check(t, c.Connect(t.Context()))
			most := 0
			start := time.Now()
			var mu sync.Mutex
			stream(t, c, 48, data, 256<<10, func(int64) bool {
				mu.Lock()
				defer mu.Unlock()
				most = max(most, c.Stats().Lanes)
				return time.Since(start) > 2*time.Second && most >= max(1, limit-1) || time.Since(start) > 15*time.Second
			})
			st := c.Stats()
			if most > limit || limit > 1 && most < limit-1 || st.Retries != 0 || st.Sessions > limit {
				t.Errorf("%d lanes, %+v", most, st)
			}
			if st.Lanes != 0 || st.Ranges != 0 || st.BytesInFlight != 0 {
				eventually(t, "the lanes end", func() bool { st := c.Stats(); return st.Lanes+st.Ranges == 0 && st.BytesInFlight == 0 })
			}
		})
	}
}

// TestOthersUnderBulk works on metadata and reads little while another reader
// takes all that a link gives.
func TestOthersUnderBulk(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: limit})
			data := pattern(16<<20, 91)
			old(t, s, "data", data)
			s.WriteFile(t, "dir/small", data[:100])
			s.Faults().SetLink(uftptest.Link{Delay: 2 * time.Millisecond, Bandwidth: 8 << 20})
			c := open(t, s)
			check(t, c.Connect(t.Context()))
			var done atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() { stream(t, c, 16, data, 1<<20, func(int64) bool { return done.Load() }) })
			eventually(t, "the bulk is on its way", func() bool { return c.Stats().BytesInFlight > 1<<20 })
			var stat, small []time.Duration
			for range 10 {
				start := time.Now()
				if _, err := c.Stat(t.Context(), "data"); err != nil {
					t.Error(err)
				}
				stat = append(stat, time.Since(start))
				start = time.Now()
				p := make([]byte, 4096)
				if _, err := c.ReadAt(t.Context(), "data", p, 12345); err != nil || !bytes.Equal(p, data[12345:12345+4096]) {
					t.Errorf("small read: %v", err)
				}
				small = append(small, time.Since(start))
				check(t, c.Mkdir(t.Context(), fmt.Sprintf("dir/%d", len(stat))))
			}
			done.Store(true)
			wg.Wait()
			t.Logf("%v %v", stat, small)
			// A queue of 16 MiB would take two seconds, with each of them.
			total := time.Duration(0)
			for i := range stat {
				total += stat[i] + small[i]
			}
			if total > 15*time.Second {
				t.Errorf("the others took %v: %v %v", total, stat, small)
			}
		})
	}
}
