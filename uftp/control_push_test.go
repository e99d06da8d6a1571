package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// ethernet makes connections that have the segments of a real network.
func ethernet(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
		})
		if cerr != nil {
			return cerr
		}
		return err
	}}
	return d.DialContext(ctx, network, address)
}

// farAway is a server that pushes are sent to, and a client of it.
func farAway(t *testing.T, sessions int) (*uftptest.Server, *uftp.Client) {
	t.Helper()
	s := uftptest.Start(t, uftptest.Config{})
	s.Faults().SetLink(uftptest.Link{Delay: 2 * time.Millisecond})
	return s, open(t, s, func(c *uftp.Config) { c.Dial, c.MaxSessions = ethernet, sessions })
}

// TestPushes lets questions, changes and reads of several callers take turns on
// few sessions of a server that is far away: replies to pushes are in between, and
// nothing may take them for its own.
func TestPushes(t *testing.T) {
	t.Parallel()
	for _, sessions := range []int{1, 3} {
		s, c := farAway(t, sessions)
		data := pattern(2<<20, 50)
		s.WriteFile(t, "data", data)
		stop := readers(t, c, 3, "data", data, 100<<10)
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			wg.Go(func() {
				for range 5 {
					turn(t, c, name)
				}
			})
		}
		wg.Wait()
		if n := stop(); n == 0 {
			t.Errorf("%d sessions: nothing was read", sessions)
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins > int64(sessions) {
			t.Errorf("%d sessions: %+v", sessions, st)
		}
	}
}

// turn does something of everything with a file, which is not there afterwards.
func turn(t *testing.T, c *uftp.Client, name string) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.Stat(ctx, name); err == nil {
		t.Errorf("%s: there already", name)
	}
	_, err := c.Create(ctx, name)
	check2(t, "create", err)
	_, err = c.WriteAt(ctx, name, []byte(name+name), 0)
	check2(t, "write", err)
	check2(t, "chmod", c.Chmod(ctx, name, 0o600))
	info, err := c.Stat(ctx, name)
	if err != nil || info.Size != 2 || info.Mode.Perm() != 0o600 {
		t.Errorf("%s: stat %+v, %v", name, info, err)
	}
	check2(t, "rename", c.Rename(ctx, name, name+"2"))
	p := make([]byte, 2)
	if _, err := c.ReadAt(ctx, name+"2", p, 0); err != nil || string(p) != name+name {
		t.Errorf("%s: read %q, %v", name, p, err)
	}
	if l, err := c.List(ctx, ""); err != nil || len(l) < 2 {
		t.Errorf("%s: %d entries, %v", name, len(l), err)
	}
	check2(t, "remove", c.Remove(ctx, name+"2"))
}

// check2 is check for goroutines that are not the test's own.
func check2(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// TestPushRefused: a server that does not take such numbers is not bothered with
// them once it has said so, which may be read after the second one is sent.
func TestPushRefused(t *testing.T) {
	t.Parallel()
	s, c := farAway(t, 1)
	s.WriteFile(t, "f", nil)
	check(t, c.Connect(t.Context()))
	s.Faults().Inject(1, uftptest.Fault{Verb: "RANG", Reply: "501 Argument syntax error"})
	for i := range 6 {
		if _, err := c.Stat(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		most := int64(2) // there and back
		if i > 0 {
			most = 4 // the second one may be on its way by then
		}
		if n := s.Stats().Commands["RANG"]; n > most {
			t.Errorf("%d ranges after %d questions", n, i+1)
		}
	}
	if n := s.Stats().Commands["RANG"]; n == 0 {
		t.Error("no push at all")
	}
}

// TestNoPushNearby: where a segment is as long as on loopback, nothing more is sent
// than what is asked.
func TestNoPushNearby(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.Faults().SetLink(uftptest.Link{Delay: 2 * time.Millisecond})
	c := open(t, s)
	for range 3 {
		if _, err := c.Stat(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Commands["RANG"]; n != 0 {
		t.Errorf("%d pushes", n)
	}
}

// TestPushedOperations does everything over a link that pushes are for.
func TestPushedOperations(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.Faults().SetLink(uftptest.Link{Delay: 2 * time.Millisecond})
	testOperations(t, s, func(c *uftp.Config) { c.Dial = ethernet })
}

// TestPushedWrites has several upload large batches over sessions that they share
// with others: the replies to pushes are in between, also when the bytes of one
// cannot be had.
func TestPushedWrites(t *testing.T) {
	t.Parallel()
	for _, sessions := range []int{1, 3} {
		s, c := farAway(t, sessions)
		data := pattern(1<<20, 51)
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			wg.Go(func() {
				for i := range 5 {
					broken := func([]byte, int64) error { return syscall.EIO }
					if _, err := c.WriteFrom(t.Context(), name+"-big", []uftp.WriteSpan{{Len: int64(len(data))}}, broken); !errors.Is(err, syscall.EIO) {
						t.Errorf("%s: a source that is broken: %v", name, err)
					}
					info, err := c.WriteFrom(t.Context(), name+"-big", []uftp.WriteSpan{{Len: int64(len(data))}}, from(data))
					if err != nil || info.Size != int64(len(data)) {
						t.Errorf("%s, %d: %+v, %v", name, i, info, err)
					}
					turn(t, c, name)
				}
			})
		}
		wg.Wait()
		for _, name := range []string{"a", "b", "c"} {
			if !bytes.Equal(local(t, s, name+"-big"), data) {
				t.Errorf("%s: wrong bytes", name)
			}
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins > int64(sessions) {
			t.Errorf("%d sessions: %+v", sessions, st)
		}
		if n, stores := s.Stats().Commands["RANG"], s.Stats().Commands["STOR"]; n < 2*stores {
			t.Errorf("%d ranges for %d writes: no pushes", n, stores)
		}
	}
}
