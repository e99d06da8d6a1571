package uftp_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestLink works over links with delay and limited bandwidth: the bytes are
// right, an operation takes the round trips it is promised to, and the clock
// says that it took no more of them than were counted.
func TestLink(t *testing.T) {
	for _, link := range []uftptest.Link{
		{Delay: 10 * time.Millisecond},
		{Delay: 20 * time.Millisecond, Bandwidth: 20 << 20},
		{Delay: 15 * time.Millisecond, Bandwidth: 2 << 20},
	} {
		t.Run(fmt.Sprintf("%v, %d", link.Delay, link.Bandwidth), func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			data := pattern(1<<20, 30)
			s.WriteFile(t, "data", data)
			for i := range 50 {
				s.WriteFile(t, fmt.Sprintf("dir/%d", i), nil)
			}
			s.Faults().SetLink(link)
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
			ctx := t.Context()
			start := time.Now()
			check(t, c.Connect(ctx))
			// TCP, TLS, HTTP; TCP; then what is counted: all of the login, one packet.
			if d := time.Since(start); d < 5*2*link.Delay {
				t.Errorf("Connect took %v, less than five round trips", d)
			}
			if n := c.Stats().RoundTrips; n != 1 {
				t.Errorf("Connect: %d round trips on the session, want 1", n)
			}
			p := make([]byte, len(data))
			check(t, read(t, c, p[:1])) // opens the data connection
			for _, tt := range []struct {
				name         string
				trips, bytes int64
				op           func() error
			}{
				{"stat", 1, 0, func() error { _, err := c.Stat(ctx, "data"); return err }},
				{"read", 1, 4096, func() error { return read(t, c, p[:4096]) }},
				{"large read", 1, 1 << 20, func() error {
					clear(p)
					err := read(t, c, p)
					if err == nil && !bytes.Equal(p, data) {
						err = errors.New("wrong bytes")
					}
					return err
				}},
				{"write", 1, 4096, func() error { _, err := c.WriteAt(ctx, "new", data[:4096], 0); return err }},
				{"large write", 1, 1 << 20, func() error {
					_, err := c.WriteAt(ctx, "new", data, 0)
					if err == nil && !bytes.Equal(local(t, s, "new"), data) {
						err = errors.New("wrong bytes")
					}
					return err
				}},
				// The last of these, since the server closes the data connection: the first
				// list takes that of the writes. Further short ones need none.
				{"list", 1, 0, func() error {
					l, err := c.List(ctx, "dir")
					if err == nil && len(l) != 50 {
						err = fmt.Errorf("%d entries", len(l))
					}
					return err
				}},
			} {
				least := time.Duration(tt.trips) * 2 * link.Delay
				if link.Bandwidth > 0 {
					least += time.Duration(tt.bytes) * time.Second / time.Duration(link.Bandwidth)
				}
				best, trips := time.Hour, int64(1<<62)
				for range 3 {
					before, start := c.Stats().RoundTrips, time.Now()
					if err := tt.op(); err != nil {
						t.Fatalf("%s: %v", tt.name, err)
					}
					best = min(best, time.Since(start))
					trips = min(trips, c.Stats().RoundTrips-before)
				}
				// Where the machine is busy, the tail of a large read is late and asked for.
				slack := int64(0)
				if tt.name == "large read" {
					slack = 1
				}
				if trips < tt.trips || trips > tt.trips+slack {
					t.Errorf("%s: %d round trips, want %d", tt.name, trips, tt.trips)
				}
				if best < least {
					t.Errorf("%s took %v, which cannot be: at least %v", tt.name, best, least)
				}
				t.Logf("%s: %v, at least %v", tt.name, best, least)
			}
			if n := s.Stats().DataConnections; n != 1 {
				t.Errorf("%d data connections, want one for reads, writes and a list", n)
			}
			if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func read(t *testing.T, c *uftp.Client, p []byte) error {
	t.Helper()
	_, err := c.ReadAt(t.Context(), "data", p, 0)
	return err
}
