package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// pieceSize is that of the batches of these tests: enough to go through the pipe.
const pieceSize = 300 << 10

// upload writes data to a file, all pieces at a time, and returns their errors.
// Every third piece is given to the client as several ranges, the others are asked
// for when they are sent.
func upload(ctx context.Context, c *uftp.Client, name string, data []byte) []error {
	errs := make([]error, (len(data)+pieceSize-1)/pieceSize)
	var wg sync.WaitGroup
	for i := range errs {
		off := i * pieceSize
		piece := data[off:min(off+pieceSize, len(data))]
		wg.Go(func() {
			if i%3 == 0 {
				_, errs[i] = c.WriteRanges(ctx, name, partsOf(piece, int64(off), 100<<10))
				return
			}
			_, errs[i] = c.WriteFrom(ctx, name, []uftp.WriteSpan{{Off: int64(off), Len: int64(len(piece))}}, from(data))
		})
	}
	wg.Wait()
	return errs
}

// from gives the bytes of data.
func from(data []byte) func(p []byte, off int64) error {
	return func(p []byte, off int64) error { copy(p, data[off:]); return nil }
}

func TestWriteFrom(t *testing.T) {
	uftptest.Each(t, uftptest.Config{MaxConnections: 16}, func(t *testing.T, s *uftptest.Server) {
		for _, sessions := range []int{1, 4} {
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions = sessions })
			data := pattern(40*pieceSize+1234, 5)
			for round := range 2 { // the second one writes over what is there
				check(t, errors.Join(upload(t.Context(), c, "f", data)...))
				if !bytes.Equal(local(t, s, "f"), data) {
					t.Errorf("%d sessions, round %d: wrong bytes", sessions, round)
				}
				data = pattern(len(data), 6)
			}
			after := ok[uftp.Info](t)(c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Off: 1 << 20, Len: pieceSize}}, from(data)))
			if after.Name != "f" || after.Size != int64(len(data)) || time.Since(after.ModTime) > time.Minute {
				t.Errorf("the file is %+v afterwards", after)
			}
			check(t, c.Close())
		}
	})
}

func TestWriteFromBadSpans(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s)
	for _, sp := range []uftp.WriteSpan{{Off: -1, Len: 1}, {Off: 0, Len: 0}, {Off: 1<<63 - 10, Len: 11}} {
		_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{sp}, from(nil))
		wantErr(t, err, fs.ErrInvalid)
	}
}

// TestWritePipe: the next range is behind the last one before that is confirmed,
// so the round trips do not grow with what is written; and over a long way there
// are several sessions at once.
func TestWritePipe(t *testing.T) {
	for name, tt := range map[string]struct {
		sessions, pieces int
		trips            int64 // each session: the log-in, the first reply, and a spell without anything to send
	}{
		"one session":       {1, 40, 4},
		"twice as much":     {1, 80, 4},
		"several sessions":  {4, 80, 16},
		"as many as allows": {16, 80, 64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: 16})
			s.Faults().SetLink(uftptest.Link{Delay: 15 * time.Millisecond, Bandwidth: 20 << 20})
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions = tt.sessions })
			data := pattern(tt.pieces*pieceSize, 7)
			check(t, errors.Join(upload(t.Context(), c, "f", data)...))
			if !bytes.Equal(local(t, s, "f"), data) {
				t.Error("wrong bytes")
			}
			st := c.Stats()
			if st.RoundTrips > tt.trips || st.Retries != 0 {
				t.Errorf("%d round trips, %d retries; want at most %d, and none", st.RoundTrips, st.Retries, tt.trips)
			}
			if tt.sessions > 1 && st.Logins < 2 {
				t.Errorf("%d sessions were used", st.Logins)
			}
			if n := s.Stats().Commands["STOR"]; tt.sessions == 1 && n < int64(tt.pieces) {
				t.Errorf("%d STORs for %d pieces", n, tt.pieces)
			}
		})
	}
}

// TestWritePipeFaults strikes in the middle of several batches on their way: the
// error goes to the one batch that it is about, and all others make it.
func TestWritePipeFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault uftptest.Fault
		want  error
	}{
		"first refused":  {uftptest.Fault{Verb: "STOR", Errno: syscall.EACCES}, fs.ErrPermission},
		"refused":        {uftptest.Fault{Verb: "STOR", Skip: 7, Errno: syscall.EACCES}, fs.ErrPermission},
		"disk full":      {uftptest.Fault{Verb: "STOR", Skip: 7, Transfer: true, After: 1000, Errno: syscall.ENOSPC}, syscall.ENOSPC},
		"cut":            {uftptest.Fault{Verb: "STOR", Skip: 7, Cut: true, After: 1000}, nil},
		"killed":         {uftptest.Fault{Verb: "STOR", Skip: 7, Kill: true}, nil},
		"killed halfway": {uftptest.Fault{Verb: "STOR", Skip: 7, Transfer: true, After: 1000, Kill: true}, nil},
		"226 lost":       {uftptest.Fault{Verb: "STOR", Skip: 7, LoseReply: true}, nil},
		"stalled":        {uftptest.Fault{Verb: "STOR", Skip: 7, Transfer: true, After: 1000, Stall: true}, nil},
		"look lost":      {uftptest.Fault{Verb: "STAT", Skip: 3, Kill: true}, nil},
		"look refused":   {uftptest.Fault{Verb: "STAT", Skip: 3, Errno: syscall.EACCES}, fs.ErrPermission},
		"range refused":  {uftptest.Fault{Verb: "RANG", Skip: 7, Reply: "501 Argument syntax error"}, nil},
		"going down":     {uftptest.Fault{Verb: "STOR", Skip: 7, Reply: "421 going down"}, nil},
	} {
		for _, sessions := range []int{1, 3} {
			t.Run(fmt.Sprint(name, ", ", sessions), func(t *testing.T) {
				t.Parallel()
				s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
				c := open(t, s, func(c *uftp.Config) { c.MaxSessions = sessions })
				uftp.SetStall(c, 500*time.Millisecond)
				uftp.SetLateTime(c, 100*time.Millisecond) // see TestLateWrites
				check(t, c.Connect(t.Context()))
				data := pattern(30*pieceSize, 82)
				s.Faults().Inject(1, tt.fault)
				errs := upload(t.Context(), c, "f", data)
				s.Faults().Clear()
				got, failed := local(t, s, "f"), 0
				for i, err := range errs {
					if err != nil {
						failed++
						wantErr(t, err, tt.want)
						continue
					}
					if tt.fault.Verb == "RANG" {
						continue // a STOR without a range has emptied the file
					}
					off := i * pieceSize
					if end := off + pieceSize; len(got) < end || !bytes.Equal(got[off:end], data[off:end]) {
						t.Errorf("piece %d is wrong", i)
					}
				}
				least, most := 0, 0
				if tt.want != nil {
					most = 1
					if tt.fault.Verb == "STOR" || sessions == 1 { // else it may strike a log-in
						least = 1
					}
				}
				if failed < least || failed > most {
					t.Errorf("%d batches failed", failed)
				}
				check(t, errors.Join(upload(t.Context(), c, "f", data)...))
				if !bytes.Equal(local(t, s, "f"), data) {
					t.Error("wrong bytes after another attempt")
				}
			})
		}
	}
}

// TestWritePipeCut ends all connections with several batches on their way, with
// both servers.
func TestWritePipeCut(t *testing.T) {
	uftptest.Each(t, uftptest.Config{MaxConnections: 16}, func(t *testing.T, s *uftptest.Server) {
		var network cuttable
		c := open(t, s, func(c *uftp.Config) { c.Dial = network.dial })
		uftp.SetLateTime(c, 500*time.Millisecond)
		data := pattern(40*pieceSize, 9)
		var asked atomic.Int64
		var wg sync.WaitGroup
		for off := 0; off < len(data); off += pieceSize {
			wg.Go(func() {
				_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Off: int64(off), Len: pieceSize}}, func(p []byte, off int64) error {
					if asked.Add(1) == 20 {
						network.cut()
					}
					return from(data)(p, off)
				})
				check(t, err)
			})
		}
		wg.Wait()
		if !bytes.Equal(local(t, s, "f"), data) {
			t.Error("wrong bytes")
		}
		if c.Stats().Retries == 0 {
			t.Error("nothing was lost")
		}
	})
}

// cuttable is a network whose connections can all be closed.
type cuttable struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (n *cuttable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

func (n *cuttable) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

// TestWritePipeCancel has the caller of one batch give up, with others before and
// behind it on the same session: they make it, the session too, and nobody is asked
// for bytes any more.
func TestWritePipeCancel(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		uftp.SetFinishTime(c, time.Millisecond)
		check(t, c.Connect(t.Context()))
		data := pattern(20*pieceSize, 10)
		const given = 7 // the piece whose caller gives up, and whose bytes do not come
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		over, release := make(chan struct{}), make(chan struct{})
		errs := make([]error, len(data)/pieceSize)
		var wg sync.WaitGroup
		for i := range errs {
			pieceCtx := t.Context()
			fill := from(data)
			if i == given {
				pieceCtx = ctx
				fill = func(p []byte, off int64) error {
					select {
					case <-over:
						t.Error("asked for bytes afterwards")
					default:
					}
					cancel()
					<-release
					return from(data)(p, off)
				}
			}
			wg.Go(func() {
				_, errs[i] = c.WriteFrom(pieceCtx, "f", []uftp.WriteSpan{{Off: int64(i * pieceSize), Len: pieceSize}}, fill)
				if i == given {
					close(over)
				}
			})
		}
		<-ctx.Done() // since somebody asked for the bytes
		uftp.AwaitGivenUp(t, c)
		close(release)
		wg.Wait()
		got := local(t, s, "f")
		for i, err := range errs {
			off := i * pieceSize
			switch {
			case i == given:
				wantErr(t, err, context.Canceled)
			case err != nil || !bytes.Equal(got[off:off+pieceSize], data[off:off+pieceSize]):
				t.Errorf("piece %d: %v, or wrong bytes", i, err)
			}
		}
		if st := c.Stats(); st.Logins != 1 {
			t.Errorf("%d logins", st.Logins)
		}
	})
}

// TestWritePipeSource: who cannot give the bytes hears why, once, and the others on
// the session do not suffer.
func TestWritePipeSource(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	data := pattern(20*pieceSize, 11)
	broken := errors.New("broken")
	var asked atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Off: int64(len(data)), Len: pieceSize}}, func([]byte, int64) error {
			asked.Add(1)
			return broken
		})
		wantErr(t, err, broken)
	})
	wg.Go(func() { check(t, errors.Join(upload(t.Context(), c, "f", data)...)) })
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if !bytes.Equal(local(t, s, "f")[:len(data)], data) {
		t.Error("wrong bytes")
	}
}

// TestWritePipeYields: a question does not wait for the end of a long upload, even
// if there is but one session.
func TestWritePipeYields(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1})
	s.WriteFile(t, "other", nil)
	s.Faults().SetLink(uftptest.Link{Delay: time.Millisecond, Bandwidth: 20 << 20})
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	check(t, c.Connect(t.Context()))
	data := pattern(100*pieceSize, 12)
	var begun sync.Once
	var wg sync.WaitGroup
	var done atomic.Int64
	for off := 0; off < len(data); off += pieceSize {
		wg.Go(func() {
			_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Off: int64(off), Len: pieceSize}}, func(p []byte, off int64) error {
				begun.Do(func() {
					wg.Go(func() {
						ok[uftp.Info](t)(c.Stat(t.Context(), "other"))
						if n := done.Load(); n > int64(len(data)/pieceSize/2) {
							t.Errorf("the question was answered after %d pieces", n)
						}
					})
				})
				return from(data)(p, off)
			})
			check(t, err)
			done.Add(1)
		})
	}
	wg.Wait()
	if !bytes.Equal(local(t, s, "f"), data) {
		t.Error("wrong bytes")
	}
}

// TestWritePipeClose closes the client in the middle.
func TestWritePipeClose(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.Faults().SetLink(uftptest.Link{Delay: time.Millisecond, Bandwidth: 1 << 20})
	c := open(t, s)
	var wg sync.WaitGroup
	var once sync.Once
	begun := make(chan struct{})
	for i := range int64(20) {
		wg.Go(func() {
			_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Off: i << 20, Len: 1 << 20}}, func([]byte, int64) error {
				once.Do(func() { close(begun) })
				return nil
			})
			if err == nil {
				t.Error("written in no time")
			}
		})
	}
	<-begun
	start := time.Now()
	check(t, c.Close())
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestWritePipeReadOnly: a client that only reads refuses without asking anybody.
func TestWritePipeReadOnly(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s, func(c *uftp.Config) { c.ReadOnly = true })
	_, err := c.WriteFrom(t.Context(), "f", []uftp.WriteSpan{{Len: 1 << 20}}, from(nil))
	wantErr(t, err, fs.ErrPermission)
	if _, err := os.Stat(filepath.Join(s.Dir(), "f")); err == nil || c.Stats().Logins > 0 {
		t.Error("the server was asked")
	}
}
