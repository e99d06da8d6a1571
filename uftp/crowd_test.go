package uftp_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// readAround has n readers read pages of a file at random, each after the other,
// until enough is true.
func readAround(t *testing.T, c *uftp.Client, n int, data []byte, enough func(reads int) bool) {
	t.Helper()
	const page = 4 << 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	reads := 0
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			p := make([]byte, page)
			for ctx.Err() == nil {
				off := rand.IntN(len(data)/page) * page
				if _, err := c.ReadAt(t.Context(), "data", p, int64(off)); err != nil || !bytes.Equal(p, data[off:off+page]) {
					t.Errorf("at %d: %v, or wrong bytes", off, err)
					cancel()
				}
				mu.Lock()
				if reads++; enough(reads) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestCrowdOfReaders reads a little at a time from far away: one reader with one
// session, many with as many as are worth it, which end with the reading.
func TestCrowdOfReaders(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(8<<20, 92)
	old(t, s, "data", data)
	s.Faults().SetLink(uftptest.Link{Delay: 10 * time.Millisecond})
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 6 })
	check(t, c.Connect(t.Context()))
	readAround(t, c, 1, data, func(reads int) bool { return reads == 50 })
	if st := c.Stats(); st.Logins != 1 || st.Lanes > 1 {
		t.Errorf("one reader has %d sessions, %d lanes", st.Logins, st.Lanes)
	}
	most := 0
	end := time.Now().Add(20 * time.Second)
	readAround(t, c, 12, data, func(int) bool {
		most = max(most, c.Stats().Lanes)
		return most == 6 || time.Now().After(end)
	})
	if most != 6 {
		t.Errorf("12 readers at a time have %d lanes of 6", most)
	}
	eventually(t, "the lanes end", func() bool { st := c.Stats(); return st.Lanes == 0 && st.IdleSessions == st.Sessions })
	if st := c.Stats(); st.Retries != 0 {
		t.Errorf("stats %+v", st)
	}
}
