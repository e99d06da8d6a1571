package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
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

// readers keeps n goroutines reading random ranges of the file until the test
// stops them, and checks every byte. Up to max bytes at a time.
func readers(t *testing.T, c *uftp.Client, n int, path string, data []byte, most int) (stop func() (reads int64)) {
	t.Helper()
	var wg sync.WaitGroup
	var reads atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	for i := range n {
		wg.Go(func() {
			p := make([]byte, most)
			for ctx.Err() == nil {
				size := 1 + rand.IntN(most)
				if rand.IntN(2) == 0 {
					size = 1 + rand.IntN(min(most, 8<<10))
				}
				off := rand.IntN(len(data) - size)
				var err error
				clear(p)
				if i%2 == 0 {
					_, err = c.ReadAt(t.Context(), path, p[:size], int64(off))
				} else {
					var after uftp.Info
					_, after, err = c.Fetch(t.Context(), uftp.Read{Path: path, Off: int64(off), Buf: p[:size], Ahead: i%4 == 1})
					if err == nil && after.Size != int64(len(data)) {
						t.Errorf("%s: size %d", path, after.Size)
					}
				}
				if err != nil {
					t.Errorf("%s: read %d at %d: %v", path, size, off, err)
					return
				}
				if !bytes.Equal(p[:size], data[off:off+size]) {
					t.Errorf("%s: read %d at %d: wrong bytes", path, size, off)
					return
				}
				reads.Add(1)
			}
		})
	}
	return func() int64 { cancel(); wg.Wait(); return reads.Load() }
}

// old makes a file that was not changed lately.
func old(t *testing.T, s *uftptest.Server, name string, data []byte) {
	t.Helper()
	s.WriteFile(t, name, data)
	when := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(filepath.Join(s.Dir(), name), when, when))
}

// TestPipe reads by many goroutines at a time, on one session, and meanwhile asks
// for what fails: that concerns nobody else.
func TestPipe(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		a, b := pattern(8<<20, 60), pattern(3<<20, 61)
		old(t, s, "a", a)
		old(t, s, "with blank/b ", b)
		s.WriteFile(t, "dir/x", nil)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		stopA, stopB := readers(t, c, 8, "a", a, 3<<20), readers(t, c, 8, "with blank/b ", b, 100<<10)
		ctx := t.Context()
		p := make([]byte, 100<<10)
		for i := range 8 {
			_, err := c.ReadAt(ctx, "missing", p, int64(i))
			wantErr(t, err, fs.ErrNotExist)
			_, err = c.ReadAt(ctx, "dir", p, 0)
			wantErr(t, err, syscall.EISDIR)
			n, err := c.ReadAt(ctx, "a", p, int64(len(a)-10-i))
			if err != io.EOF || n != 10+i || !bytes.Equal(p[:n], a[len(a)-10-i:]) { //nolint:errorlint // exactly io.EOF
				t.Errorf("read over the end: %d, %v", n, err)
			}
			n, after, err := c.Fetch(ctx, uftp.Read{Path: "dir/x", Buf: p})
			if err != io.EOF || n != 0 || after.Size != 0 || after.Name != "x" { //nolint:errorlint // exactly io.EOF
				t.Errorf("read of nothing: %d, %+v, %v", n, after, err)
			}
			if _, err := c.Stat(ctx, "dir"); err != nil {
				t.Error(err)
			}
		}
		ra, rb := stopA(), stopB()
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 || ra < 5 || rb < 5 {
			t.Errorf("%d and %d reads, %+v", ra, rb, st)
		}
	})
}

// TestPipeFaults strikes in the middle of a full pipe.
func TestPipeFaults(t *testing.T) {
	data := pattern(4<<20, 62)
	const after = 30 << 10
	for name, tt := range map[string]struct {
		fault uftptest.Fault
		want  error // that one caller gets
	}{
		"refused":         {uftptest.Fault{Verb: "RETR", Errno: syscall.EACCES}, fs.ErrPermission},
		"read error":      {uftptest.Fault{Verb: "RETR", Transfer: true, After: after, Errno: syscall.EIO}, syscall.EIO},
		"cut":             {uftptest.Fault{Verb: "RETR", Cut: true, After: after}, nil},
		"cut at once":     {uftptest.Fault{Verb: "RETR", Cut: true}, nil},
		"killed":          {uftptest.Fault{Verb: "RETR", Kill: true}, nil},
		"killed halfway":  {uftptest.Fault{Verb: "RETR", Transfer: true, After: after, Kill: true}, nil},
		"range lost":      {uftptest.Fault{Verb: "RANG", Kill: true}, nil},
		"look lost":       {uftptest.Fault{Verb: "STAT", Kill: true}, nil},
		"226 lost":        {uftptest.Fault{Verb: "RETR", LoseReply: true}, nil},
		"stalled":         {uftptest.Fault{Verb: "RETR", Transfer: true, After: after, Stall: true}, nil},
		"slow":            {uftptest.Fault{Verb: "RETR", Transfer: true, After: after, Delay: 100 * time.Millisecond}, nil},
		"garbage":         {uftptest.Fault{Verb: "RETR", Reply: "what?"}, nil},
		"going down":      {uftptest.Fault{Verb: "STAT", Reply: "421 Service not available"}, nil},
		"no such look":    {uftptest.Fault{Verb: "STAT", Reply: "500 what file?"}, nil},
		"wrong length":    {uftptest.Fault{Verb: "RETR", Reply: "150 OK 7 bytes available for reading."}, nil},
		"data conn fails": {uftptest.Fault{Verb: "RETR", LastReply: "500 Error processing command 'RETR': [Errno 32] Broken pipe"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
			old(t, s, "data", data)
			c := open(t, s)
			uftp.SetStall(c, 500*time.Millisecond)
			check(t, c.Connect(t.Context()))
			for round := range 6 {
				f := tt.fault
				f.Skip = 5 + rand.IntN(40)
				s.Faults().Inject(1, f)
				var wg sync.WaitGroup
				var failed, reads atomic.Int64
				for i := range 12 {
					wg.Go(func() {
						p := make([]byte, 300<<10)
						for range 6 {
							size := after + rand.IntN(len(p)-after)
							off := rand.IntN(len(data) - size)
							clear(p)
							var err error
							if i%2 == 0 {
								_, err = c.ReadAt(t.Context(), "data", p[:size], int64(off))
							} else {
								_, _, err = c.Fetch(t.Context(), uftp.Read{Path: "data", Off: int64(off), Buf: p[:size]})
							}
							switch {
							case err == nil && !bytes.Equal(p[:size], data[off:off+size]):
								t.Errorf("read %d at %d: wrong bytes", size, off)
							case err == nil:
								reads.Add(1)
							case tt.want != nil && errors.Is(err, tt.want) || name == "no such look":
								failed.Add(1)
							default:
								t.Errorf("round %d: read %d at %d: %v", round, size, off, err)
							}
						}
					})
				}
				wg.Wait()
				s.Faults().Clear()
				if n := failed.Load(); tt.want != nil && n != 1 || n > 6 {
					t.Errorf("%d reads failed, and %d did not", n, reads.Load())
				}
			}
		})
	}
}

// TestShrinking reads files that others cut and write again. What is read is
// right, up to an end.
func TestShrinking(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data, steady := pattern(2<<20, 63), pattern(4<<20, 64)
		old(t, s, "steady", steady)
		old(t, s, "moving", data)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 2 })
		stop := readers(t, c, 6, "steady", steady, 200<<10)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var whole, short atomic.Int64
		for i := range 8 {
			wg.Go(func() {
				p := make([]byte, 300<<10)
				for ctx.Err() == nil {
					size := 1 + rand.IntN(len(p))
					off := rand.IntN(len(data) - size)
					clear(p)
					var n int
					var err error
					if i%2 == 0 {
						n, err = c.ReadAt(t.Context(), "moving", p[:size], int64(off))
					} else {
						n, _, err = c.Fetch(t.Context(), uftp.Read{Path: "moving", Off: int64(off), Buf: p[:size]})
					}
					for k, b := range p[:n] {
						// Zeros: sendfile(2) sends pages that are cut while they are on their way.
						if b != data[off+k] && b != 0 {
							t.Errorf("read %d of %d at %d: wrong bytes from %d", n, size, off, k)
							return
						}
					}
					switch {
					case err == nil && n == size:
						whole.Add(1)
					case err == io.EOF && n < size: //nolint:errorlint // exactly io.EOF
						short.Add(1)
					default:
						t.Errorf("read %d of %d at %d: %v", n, size, off, err)
						return
					}
				}
			})
		}
		name := filepath.Join(s.Dir(), "moving")
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		check(t, err)
		defer func() { check(t, f.Close()) }()
		// What looks at rest had another time before: two versions that look the same
		// nobody can tell apart.
		when := time.Now().Add(-time.Hour)
		rest := func() {
			when = when.Add(-time.Second)
			check(t, os.Chtimes(name, when, when))
		}
		for start := time.Now(); time.Since(start) < 2*time.Second || short.Load() < 10 && time.Since(start) < 10*time.Second; {
			size := rand.IntN(len(data))
			check(t, f.Truncate(int64(size)))
			_, err := f.WriteAt(data[size:], int64(size))
			check(t, err)
			if rand.IntN(2) == 0 {
				rest()
			}
			pauseFor(rand.N(20 * time.Millisecond))
			if rand.IntN(4) == 0 { // now at another size, for a while
				check(t, f.Truncate(int64(size)))
				rest()
				pauseFor(rand.N(20 * time.Millisecond))
				_, err := f.WriteAt(data[size:], int64(size))
				check(t, err)
			}
		}
		cancel()
		wg.Wait()
		t.Logf("%d whole, %d short, %d steady, %+v", whole.Load(), short.Load(), stop(), c.Stats())
		if whole.Load() < 10 || short.Load() < 1 {
			t.Errorf("%d whole and %d short reads: the test sees nothing", whole.Load(), short.Load())
		}
	})
}

func pauseFor(d time.Duration) { <-time.After(d) }

// TestPipeCancel gives up many reads at random moments. Their buffers are left
// alone from then on, and the others are served right.
func TestPipeCancel(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(8<<20, 65)
		old(t, s, "data", data)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		uftp.SetFinishTime(c, time.Millisecond)
		check(t, c.Connect(t.Context()))
		stop := readers(t, c, 4, "data", data, 1<<20)
		var wg sync.WaitGroup
		var cancelled atomic.Int64
		for range 6 {
			wg.Go(func() {
				for range 25 {
					p := make([]byte, 1+rand.IntN(3<<20))
					off := rand.IntN(len(data) - len(p))
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(4*time.Millisecond))
					_, err := c.ReadAt(ctx, "data", p, int64(off))
					cancel()
					if err == nil {
						if !bytes.Equal(p, data[off:off+len(p)]) {
							t.Error("wrong bytes")
						}
						continue
					}
					wantErr(t, err, context.DeadlineExceeded)
					cancelled.Add(1)
					for i := range p {
						p[i] = byte(i)
					}
					pauseFor(rand.N(3 * time.Millisecond))
					for i := range p {
						if p[i] != byte(i) {
							t.Error("the buffer was written to after the call")
							break
						}
					}
				}
			})
		}
		wg.Wait()
		n := stop()
		if st := c.Stats(); st.Logins != 1 || st.Retries != 0 || cancelled.Load() < 10 || n < 5 {
			t.Errorf("%d cancelled, %d reads, %+v", cancelled.Load(), n, st)
		}
	})
}

// TestPipeWaits has reads wait for a server that is away, and for one that lets
// nobody in.
func TestPipeWaits(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	old(t, s, "data", pattern(1000, 66))
	c := open(t, s, func(c *uftp.Config) { c.IOTimeout = time.Second })
	s.Faults().Inject(-1, uftptest.Fault{Verb: uftptest.FaultConnect, Kill: true})
	read := func(ctx context.Context) error { _, err := c.ReadAt(ctx, "data", make([]byte, 10), 0); return err }
	start := time.Now()
	wantErr(t, read(t.Context()), uftp.ErrUnavailable)
	if d := time.Since(start); d < 900*time.Millisecond || d > 5*time.Second {
		t.Errorf("gave up after %v", d)
	}
	wantErr(t, read(t.Context()), uftp.ErrUnavailable)
	patient := open(t, s)
	eventually(t, "who gives up early says what he waited for", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := patient.ReadAt(ctx, "data", make([]byte, 10), 0)
		return errors.Is(err, uftp.ErrUnavailable) && errors.Is(err, context.DeadlineExceeded)
	})
	s.Faults().Clear()
	// The next attempt to log in may be some seconds away, longer than one read waits.
	for err := read(t.Context()); err != nil; err = read(t.Context()) {
		pauseFor(10 * time.Millisecond)
		if time.Since(start) > 20*time.Second {
			t.Fatal(err)
		}
	}
	bad := open(t, s, func(c *uftp.Config) { c.BaseDir += "/absent" })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			_, err := bad.ReadAt(t.Context(), "data", make([]byte, 10), 0)
			wantErr(t, err, fs.ErrNotExist)
		})
	}
	wg.Wait()
	check(t, c.Close())
	wantErr(t, read(t.Context()))
}
