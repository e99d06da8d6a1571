package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestLoginForData opens the data connection with the log-in for one who is going
// to read, and only for him.
func TestLoginForData(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(10000, 70)
	old(t, s, "data", data)
	c := open(t, s)
	if _, err := c.Stat(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().DataConnections; n != 0 {
		t.Errorf("%d data connections for a Stat", n)
	}
	if n := c.Stats().RoundTrips; n != 1 {
		t.Errorf("%d round trips for a log-in and a Stat, want 1", n)
	}
	c = open(t, s)
	p := make([]byte, len(data))
	if _, err := c.ReadAt(t.Context(), "data", p, 0); err != nil || !bytes.Equal(p, data) {
		t.Fatal(err)
	}
	// The log-in, the connection, and the bytes; where the machine is busy, the
	// tail is asked for.
	if st := c.Stats(); st.RoundTrips < 3 || st.RoundTrips > 4 || st.Logins != 1 || st.Retries != 0 {
		t.Errorf("stats %+v", st)
	}
	if st := s.Stats(); st.DataConnections != 1 || st.Logins != 2 {
		t.Errorf("server: %d data connections, %d logins", st.DataConnections, st.Logins)
	}
}

// TestEager opens the data connection with the first log-in for one who is going to
// read. Then it is one round trip until a file is known, and one until its bytes
// come.
func TestEager(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(64<<10, 71)
	old(t, s, "data", data)
	c := open(t, s, func(c *uftp.Config) { c.Eager = true })
	check(t, c.Connect(t.Context()))
	if st := c.Stats(); st.RoundTrips != 2 {
		t.Errorf("%d round trips until there is a data connection, want 2", st.RoundTrips)
	}
	before := c.Stats().RoundTrips
	if _, err := c.Stat(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(data))
	if _, _, err := c.Fetch(t.Context(), uftp.Read{Path: "data", Buf: p}); err != nil || !bytes.Equal(p, data) {
		t.Fatal(err)
	}
	if n := c.Stats().RoundTrips - before; n != 2 {
		t.Errorf("%d round trips to stat a file and read it, want 2", n)
	}
	if n := s.Stats().DataConnections; n != 1 {
		t.Errorf("%d data connections", n)
	}
}

// TestLoginRefused tells apart why a server does not let somebody in, although
// everything was sent before it said so.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	const busy = "500 Too many active transfer requests / sessions for 'demo' - server limit is 4"
	for reply, want := range map[string]error{
		busy: uftp.ErrBusy,
		"500 Session for these credentials is already running":                          uftp.ErrBusy,
		"530 Not logged in: Attempted to select unknown user 'x'":                       uftp.ErrAuth,
		"500 Error establishing connection: Rejecting connection for 'u' from 10.1.1.1": uftp.ErrAuth,
		"421 Going down":     uftp.ErrUnavailable,
		"500 Protocol error": uftp.ErrProtocol,
	} {
		for _, data := range []bool{false, true} {
			t.Run(fmt.Sprint(reply, data), func(t *testing.T) {
				t.Parallel()
				s := uftptest.Start(t, uftptest.Config{})
				s.WriteFile(t, "data", []byte("x"))
				s.Faults().Inject(-1, uftptest.Fault{Verb: uftptest.FaultLogin, Reply: reply})
				c := open(t, s, func(c *uftp.Config) { c.IOTimeout = 4 * time.Second })
				var err error
				if data {
					_, err = c.ReadAt(t.Context(), "data", make([]byte, 1), 0)
				} else {
					_, err = c.Stat(t.Context(), "data")
				}
				if !errors.Is(err, want) {
					t.Error(err)
				}
			})
		}
	}
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s, func(c *uftp.Config) { c.BaseDir += "/missing" })
	if _, err := c.ReadAt(t.Context(), "data", make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a base directory: %v", err)
	}
}

// TestSessionsSideBySide has many ask for sessions of a server that allows a few:
// all are served, and the client knows how many it has.
func TestSessionsSideBySide(t *testing.T) {
	t.Parallel()
	const limit = 5
	s := uftptest.Start(t, uftptest.Config{MaxConnections: limit})
	s.WriteFile(t, "data", []byte("x"))
	s.Faults().SetLink(uftptest.Link{Delay: 5 * time.Millisecond})
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 16 })
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := c.Hash(t.Context(), "data", "MD5", 0, -1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if st := c.Stats(); st.Sessions > limit || st.Sessions < 2 || st.Auths != 1 || st.Retries != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestLoginSilent has a server that lets us in and then says nothing, as it does
// when the file system of the base directory hangs: that is no missing directory,
// and may pass.
func TestLoginSilent(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "data", nil)
	short := func(c *uftp.Config) { c.DialTimeout, c.IOTimeout = 200*time.Millisecond, 2*time.Second }
	silence := uftptest.Fault{Verb: "TYPE", Stall: true} // the first command after the password
	s.Faults().Inject(-1, silence)
	if _, err := open(t, s, short).Stat(t.Context(), "data"); !errors.Is(err, uftp.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("silent for ever: %v", err)
	}
	s.Faults().Clear()
	s.Faults().Inject(2, silence)
	c := open(t, s, func(c *uftp.Config) { c.DialTimeout = time.Second })
	if _, err := c.Stat(t.Context(), "data"); err != nil {
		t.Errorf("silent twice: %v", err)
	}
}

// TestBaseGoesAway has a base directory that is there and then, for a while, is not:
// its file system is away, or the server goes down just after it has let us in, twice.
// That says nothing of any file, and may pass.
func TestBaseGoesAway(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "base/data", nil)
		c := open(t, s, func(c *uftp.Config) { c.BaseDir += "/base"; c.IOTimeout = 20 * time.Second })
		_, err := c.Stat(t.Context(), "data")
		check(t, err)
		base, away := filepath.Join(s.Dir(), "base"), filepath.Join(s.Dir(), "away")
		check(t, os.Rename(base, away))
		check(t, s.KillSessions())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Stat(ctx, "data"); !errors.Is(err, uftp.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("while it is away: %v", err)
		}
		check(t, os.Rename(away, base))
		if _, err := c.Stat(t.Context(), "data"); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}
