package uftp_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestLook has files asked for with the log-in: that costs no round trip, and those
// that are not there do not cost the data connection.
func TestLook(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "dir/with blank", pattern(1000, 1))
		c := open(t, s, func(c *uftp.Config) { c.Eager = true })
		names := []string{"dir/with blank", "missing", "dir", "../outside"}
		want := []error{nil, fs.ErrNotExist, nil, fs.ErrInvalid}
		look := func(trips int64) {
			t.Helper()
			before := c.Stats().RoundTrips
			looked, err := c.Look(t.Context(), names...)
			check(t, err)
			if n := c.Stats().RoundTrips - before; n > trips {
				t.Errorf("%d round trips, want %d at most", n, trips)
			}
			for i, l := range looked {
				if !errors.Is(l.Err, want[i]) {
					t.Errorf("%s: %v, want %v", names[i], l.Err, want[i])
				}
			}
			if looked[0].Info.Size != 1000 || looked[0].Info.Name != "with blank" || !looked[2].Info.IsDir() {
				t.Errorf("%+v", looked)
			}
		}
		look(2) // the log-in, and its data connection
		before := c.Stats().RoundTrips
		p := make([]byte, 1000)
		if _, err := c.ReadAt(t.Context(), names[0], p, 0); err != nil || !bytes.Equal(p, pattern(1000, 1)) {
			t.Error(err)
		}
		if st := c.Stats(); st.RoundTrips-before > 2 || st.Logins != 1 || st.Retries != 0 { // two if the tail is late
			t.Errorf("%+v", st)
		}
		look(3) // Connect's own question, one packet for all others, and a log-in if the read is not over
	})
}

// TestLookAfterFailure has the answers although the first log-in broke between them.
func TestLookAfterFailure(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", pattern(10, 1))
	s.Faults().Inject(1, uftptest.Fault{Verb: "MLST", Skip: 1, Kill: true})
	c := open(t, s)
	if _, err := c.Look(t.Context(), "f", "g"); !errors.Is(err, uftp.ErrUnavailable) {
		t.Errorf("a log-in that broke: %v", err)
	}
	looked, err := c.Look(t.Context(), "f", "g")
	check(t, err)
	if looked[0].Err != nil || looked[0].Info.Size != 10 || !errors.Is(looked[1].Err, fs.ErrNotExist) {
		t.Errorf("%+v", looked)
	}
	if n := uftp.Questions(c); n != 0 {
		t.Errorf("%d questions are left", n)
	}
}

// TestExpect opens the sessions for what is announced before anybody waits for them,
// as many as it is worth; and one that the server does not allow is nobody's loss.
func TestExpect(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bytes        int64
		max, allowed int
		want         int
	}{
		"much":        {1 << 30, 5, 16, 5},
		"little":      {20 << 20, 5, 16, 2},
		"nothing":     {0, 5, 16, 1},
		"a low limit": {1 << 30, 5, 3, 3},
		"one session": {1 << 30, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: tt.allowed})
			s.Faults().SetLink(uftptest.Link{Delay: 15 * time.Millisecond})
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions, c.Eager = tt.max, true })
			c.Expect(tt.bytes)
			check(t, c.Connect(t.Context()))
			uftp.AwaitOpened(t, c)
			st := c.Stats()
			if st.Sessions != tt.want || st.IdleSessions != tt.want {
				t.Errorf("%d sessions, %d of them idle, want %d", st.Sessions, st.IdleSessions, tt.want)
			}
			if n := uftp.DataConnections(c); n != tt.want {
				t.Errorf("%d data connections, want %d", n, tt.want)
			}
		})
	}
}
