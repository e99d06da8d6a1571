package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestFaultsAreSurvived injects one fault at each place of each operation: the
// client must hide it, and the result be right.
func TestFaultsAreSurvived(t *testing.T) {
	data := pattern(300<<10, 7)
	operations := []struct {
		name  string
		verbs string
		run   func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error
	}{
		{"stat", "STAT MLST", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, _ string) error {
			i, err := c.Stat(t.Context(), "data")
			if err == nil && i.Size != int64(len(data)) {
				err = fmt.Errorf("%+v", i)
			}
			return err
		}},
		{"list", "STAT RANG EPSV MLSD", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, _ string) error {
			l, err := c.List(t.Context(), "listed")
			if err == nil && len(l) != 20 {
				err = fmt.Errorf("%d entries", len(l))
			}
			return err
		}},
		{"short lists", "STAT RANG MLST", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			l, err := c.ListSome(t.Context(), []string{"listed", dir + "/empty"})
			if err == nil && (l[0].Err != nil || len(l[0].Entries) != 20 || l[1].Err != nil || len(l[1].Entries) != 0) {
				err = fmt.Errorf("%+v", l)
			}
			return err
		}},
		{"read", "EPSV RANG RETR", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, _ string) error {
			p := make([]byte, len(data)-100)
			n, err := c.ReadAt(t.Context(), "data", p, 100)
			if err == nil && (n != len(p) || !bytes.Equal(p, data[100:])) {
				err = errors.New("wrong bytes")
			}
			return err
		}},
		{"write", "EPSV RANG STOR STAT", func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error {
			_, err := c.WriteAt(t.Context(), dir+"/w", data, 5)
			if err == nil && !bytes.Equal(local(t, s, dir+"/w")[5:], data) {
				err = errors.New("wrong bytes")
			}
			return err
		}},
		{"create", "EPSV RANG ALLO STOR", func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error {
			s.WriteFile(t, dir+"/c", data)
			_, err := c.Create(t.Context(), dir+"/c")
			if n := len(local(t, s, dir+"/c")); err == nil && n != 0 {
				err = fmt.Errorf("%d bytes", n)
			}
			return err
		}},
		{"mkdir", "MKD STAT MLST", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			info, err := c.NewDir(t.Context(), dir+"/m")
			if err == nil && !info.IsDir() {
				err = fmt.Errorf("it is %+v", info)
			}
			return err
		}},
		{"rmdir", "RMD", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			return c.Rmdir(t.Context(), dir+"/empty")
		}},
		{"remove", "DELE", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			return c.Remove(t.Context(), dir+"/file")
		}},
		{"rename", "RNFR RNTO", func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error {
			err := c.Rename(t.Context(), dir+"/file", dir+"/renamed")
			if err == nil && string(local(t, s, dir+"/renamed")) != "x" {
				err = errors.New("wrong file")
			}
			return err
		}},
		{"chmod", "MFF", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			return c.Chmod(t.Context(), dir+"/file", 0o600)
		}},
		{"chtimes", "MFMT STAT", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			return c.Chtimes(t.Context(), dir+"/file", time.Unix(1e9, 0))
		}},
		{"mode and time", "MFF MFMT STAT MLST", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, dir string) error {
			info, err := c.SetAttr(t.Context(), dir+"/file", uftp.Attr{Mode: 0o600, SetMode: true, ModTime: time.Unix(1e9, 0)})
			if err == nil && (info.Mode != 0o600 || info.ModTime.Unix() != 1e9) {
				err = fmt.Errorf("it is %+v", info)
			}
			return err
		}},
		{"chmod with blanks", "RNFR RNTO MFF", func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error {
			err := c.Chmod(t.Context(), dir+"/a b", 0o600)
			if err == nil && string(local(t, s, dir+"/a b")) != "y" {
				err = errors.New("wrong file")
			}
			return err
		}},
		{"truncate", "RETR STOR RNTO", func(t *testing.T, c *uftp.Client, s *uftptest.Server, dir string) error {
			s.WriteFile(t, dir+"/t", data)
			err := c.Truncate(t.Context(), dir+"/t", 100)
			if err == nil && !bytes.Equal(local(t, s, dir+"/t"), data[:100]) {
				err = errors.New("wrong bytes")
			}
			return err
		}},
		{"hash", "OPTS HASH", func(t *testing.T, c *uftp.Client, _ *uftptest.Server, _ string) error {
			_, err := c.Hash(t.Context(), "data", "MD5", 0, -1)
			return err
		}},
	}
	faults := map[string]uftptest.Fault{
		"killed":         {Kill: true},
		"killed after 1": {Kill: true, Skip: 1},
		"reply lost":     {LoseReply: true},
		"stalled":        {Stall: true},
		"late":           {Delay: 100 * time.Millisecond},
		"going down":     {Reply: "421 Service not available"},
	}
	transfers := map[string]uftptest.Fault{
		"cut":             {Cut: true, After: 100 << 10},
		"cut at once":     {Cut: true},
		"killed halfway":  {Kill: true, Transfer: true, After: 100 << 10},
		"stalled halfway": {Stall: true, Transfer: true, After: 100 << 10},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, op := range operations {
		// All at once, whatever -parallel says: they are mostly waiting.
		wg.Go(func() {
			t.Run(op.name, func(t *testing.T) {
				s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
				s.WriteFile(t, "data", data)
				for i := range 20 {
					s.WriteFile(t, fmt.Sprintf("listed/%d", i), nil)
				}
				n := 0
				run := func(verb, name string, f uftptest.Fault) {
					t.Run(verb+"/"+name, func(t *testing.T) {
						n++
						dir := fmt.Sprintf("dir%d", n)
						s.WriteFile(t, dir+"/file", []byte("x"))
						s.WriteFile(t, dir+"/a b", []byte("y"))
						c := open(t, s)
						uftp.SetStall(c, 300*time.Millisecond)
						uftp.SetLateTime(c, 100*time.Millisecond) // see TestLateWrites
						check(t, c.Connect(t.Context()))
						check(t, c.Mkdir(t.Context(), dir+"/empty"))
						f.Verb = verb
						s.Faults().Inject(1, f)
						defer s.Faults().Clear()
						if err := op.run(t, c, s, dir); err != nil {
							t.Errorf("%v (%+v)", err, c.Stats())
						}
						l, err := c.List(t.Context(), dir)
						check(t, err)
						for _, e := range l {
							if strings.HasPrefix(e.Name, ".uftp-") {
								t.Errorf("left behind: %q", e.Name)
							}
						}
					})
				}
				for verb := range strings.FieldsSeq(op.verbs) {
					for name, f := range faults {
						run(verb, name, f)
					}
					if verb == "RETR" || verb == "STOR" && op.name == "write" || verb == "MLSD" {
						for name, f := range transfers {
							run(verb, name, f)
						}
					}
				}
			})
		})
	}
}

// TestFaultsAreReported shows what the caller hears of what no retry mends.
func TestFaultsAreReported(t *testing.T) {
	t.Parallel()
	data := pattern(300<<10, 8)
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
	s.WriteFile(t, "data", data)
	read := func(c *uftp.Client) error { _, err := c.ReadAt(t.Context(), "data", make([]byte, 1000), 0); return err }
	write := func(c *uftp.Client) error { _, err := c.WriteAt(t.Context(), "new", data, 0); return err }
	stat := func(c *uftp.Client) error { _, err := c.Stat(t.Context(), "data"); return err }
	list := func(c *uftp.Client) error { _, err := c.List(t.Context(), ""); return err }
	for name, tt := range map[string]struct {
		fault uftptest.Fault
		op    func(*uftp.Client) error
		want  error
	}{
		"disk full":           {uftptest.Fault{Verb: "STOR", Transfer: true, After: 100 << 10, Errno: syscall.ENOSPC}, write, syscall.ENOSPC},
		"quota":               {uftptest.Fault{Verb: "STOR", Transfer: true, Errno: syscall.EDQUOT}, write, syscall.EDQUOT},
		"read error":          {uftptest.Fault{Verb: "RETR", Transfer: true, After: 100, Errno: syscall.EIO}, read, syscall.EIO},
		"forbidden":           {uftptest.Fault{Verb: "RETR", Errno: syscall.EACCES}, read, fs.ErrPermission},
		"unreadable":          {uftptest.Fault{Verb: "RETR", Reply: "550 Error processing command 'RETR': Directory/file does not exist or cannot be accessed!"}, read, fs.ErrPermission},
		"read-only":           {uftptest.Fault{Verb: "STOR", Errno: syscall.EROFS}, write, syscall.EROFS},
		"stale":               {uftptest.Fault{Verb: "STAT", Errno: syscall.ESTALE}, stat, syscall.ESTALE},
		"outside":             {uftptest.Fault{Verb: "STAT", Reply: "534 Error processing command 'STAT': Forbidden: /x not in /y"}, stat, fs.ErrPermission},
		"garbage":             {uftptest.Fault{Verb: "STAT", Reply: "\x00\xff\x01 garbage"}, stat, uftp.ErrProtocol},
		"no code":             {uftptest.Fault{Verb: "STAT", Reply: "xyz what"}, stat, uftp.ErrProtocol},
		"wrong code":          {uftptest.Fault{Verb: "STAT", Reply: "200 OK"}, stat, uftp.ErrProtocol},
		"long line":           {uftptest.Fault{Verb: "STAT", Reply: "211 " + strings.Repeat("x", 100<<10)}, stat, uftp.ErrProtocol},
		"endless reply":       {uftptest.Fault{Verb: "STAT", Reply: "211-" + strings.Repeat("\n x", 5000)}, stat, uftp.ErrProtocol},
		"bad entry":           {uftptest.Fault{Verb: "STAT", Reply: "211- Sending\n what is this\n211 End"}, stat, uftp.ErrProtocol},
		"wrong length":        {uftptest.Fault{Verb: "RETR", Reply: "150 OK 7 bytes available for reading."}, read, uftp.ErrProtocol},
		"wrong code, RETR":    {uftptest.Fault{Verb: "RETR", Reply: "200 OK"}, read, uftp.ErrProtocol},
		"wrong code, RANG":    {uftptest.Fault{Verb: "RANG", Reply: "200 OK"}, read, uftp.ErrProtocol},
		"range refused":       {uftptest.Fault{Verb: "RANG", Reply: "501 Argument syntax error"}, read, uftp.ErrProtocol},
		"garbage, EPSV":       {uftptest.Fault{Verb: "EPSV", Reply: "229 Entering somewhere"}, read, uftp.ErrProtocol},
		"garbage, list":       {uftptest.Fault{Verb: "STAT", Reply: "garbage"}, list, uftp.ErrProtocol},
		"not implemented":     {uftptest.Fault{Verb: "MKD", Reply: "502 Command not implemented."}, func(c *uftp.Client) error { return c.Mkdir(t.Context(), "x") }, errors.ErrUnsupported},
		"wrong code, library": {uftptest.Fault{Verb: "MKD", Reply: "350 What"}, func(c *uftp.Client) error { return c.Mkdir(t.Context(), "x") }, uftp.ErrProtocol},
		"hash of others":      {uftptest.Fault{Verb: "HASH", Reply: "213 MD5 0-9 zz /x"}, func(c *uftp.Client) error { _, err := c.Hash(t.Context(), "data", "MD5", 0, -1); return err }, uftp.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, s)
			check(t, c.Connect(t.Context()))
			s.Faults().Inject(-1, tt.fault)
			defer s.Faults().Clear()
			wantErr(t, tt.op(c), tt.want)
			s.Faults().Clear()
			// The client goes on, in step.
			p := make([]byte, len(data))
			if n, err := c.ReadAt(t.Context(), "data", p, 0); err != nil || n != len(p) || !bytes.Equal(p, data) {
				t.Errorf("afterwards: %d bytes, %v", n, err)
			}
		})
	}
}

// TestShort makes the server send less than it has, which is what a file that
// shrank looks like.
func TestShort(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(1<<20, 9)
	s.WriteFile(t, "data", data)
	c := open(t, s)
	s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Short: true, After: 1000})
	p := make([]byte, 5000)
	n, err := c.ReadAt(t.Context(), "data", p, 0)
	if n != 1000 || err != io.EOF || !bytes.Equal(p[:n], data[:n]) { //nolint:errorlint // exactly io.EOF
		t.Errorf("read: %d, %v", n, err)
	}
	s.Faults().Inject(1, uftptest.Fault{Verb: "STOR", Short: true, After: 1000})
	if n, err := c.WriteAt(t.Context(), "new", data, 0); err != nil || n != len(data) {
		t.Errorf("write: %d, %v", n, err)
	}
	if !bytes.Equal(local(t, s, "new"), data) {
		t.Error("wrong bytes written")
	}
	s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Short: true, After: 1000})
	r, _, err := c.Get(t.Context(), "data")
	check(t, err)
	got, err := io.ReadAll(r)
	if len(got) != 1000 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("get: %d, %v", len(got), err)
	}
	check(t, r.Close())
	s.Faults().Inject(1, uftptest.Fault{Verb: "STOR", Short: true, After: 1000})
	_, err = c.Put(t.Context(), "new", bytes.NewReader(data))
	wantErr(t, err, uftp.ErrUnavailable)
}

// TestCancelOpening cancels an operation while the server waits for its data
// connection, which it does for 30 s, and with the only session in its hands.
func TestCancelOpening(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1, Quirks: uftptest.Quirks{SweepInterval: 50 * time.Millisecond}})
	s.WriteFile(t, "data", pattern(1000, 13))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var control atomic.Value
	c := open(t, s, func(c *uftp.Config) {
		c.Dial = func(dialCtx context.Context, network, addr string) (net.Conn, error) {
			if !strings.Contains(s.AuthURL(), addr) && !control.CompareAndSwap(nil, addr) && control.Load() != addr && ctx.Err() == nil {
				cancel()
				select {
				case <-time.After(500 * time.Millisecond): // a slow network
				case <-dialCtx.Done():
				}
			}
			return new(net.Dialer).DialContext(dialCtx, network, addr)
		}
	})
	uftp.SetFinishTime(c, 10*time.Millisecond)
	check(t, c.Connect(t.Context()))
	_, err := c.ReadAt(ctx, "data", make([]byte, 10), 0)
	wantErr(t, err, context.Canceled)
	start := time.Now()
	_, err = c.ReadAt(t.Context(), "data", make([]byte, 10), 0)
	check(t, err)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("the session was free after %v", d)
	}
}

// TestCancelSlow does what TestCancel does where transfers take long enough to be cut off.
func TestCancelSlow(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Quirks: uftptest.Quirks{SweepInterval: 50 * time.Millisecond}})
	data := pattern(1<<20, 12)
	s.WriteFile(t, "data", data)
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 2 })
	check(t, c.Connect(t.Context()))
	const rounds = 8
	for range rounds {
		s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Transfer: true, After: rand.Int64N(int64(len(data))), Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(30*time.Millisecond))
		_, err := c.ReadAt(ctx, "data", make([]byte, len(data)), 0)
		cancel()
		wantErr(t, err, context.DeadlineExceeded)
		p := make([]byte, 4096)
		for range 125 {
			off := rand.IntN(len(data) - len(p))
			if _, err := c.ReadAt(t.Context(), "data", p, int64(off)); err != nil || !bytes.Equal(p, data[off:off+len(p)]) {
				t.Fatalf("read at %d: %v", off, err)
			}
		}
	}
	if st := c.Stats(); st.Logins != 1 {
		t.Errorf("%d logins: a read that is cut off should not cost the session", st.Logins)
	}
}

// TestCancel cuts operations off at random moments; after each the client must
// serve right bytes.
func TestCancel(t *testing.T) {
	t.Parallel()
	quirks := uftptest.Quirks{SweepInterval: 50 * time.Millisecond}
	uftptest.Each(t, uftptest.Config{MaxConnections: 10, Quirks: quirks}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(1<<20, 10)
		s.WriteFile(t, "data", data)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 2 })
		check(t, c.Connect(t.Context()))
		cancelled := 0
		rounds := 400
		if s.Real() { // it frees a session's slot after 5 s
			rounds = 20
		}
		for i := range rounds {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(3*time.Millisecond))
			p := make([]byte, len(data))
			var err error
			switch i % 4 {
			case 0, 1:
				_, err = c.ReadAt(ctx, "data", p, 0)
			case 2:
				_, err = c.WriteAt(ctx, "other", data, 0)
			case 3:
				_, err = c.List(ctx, "")
			}
			cancel()
			if err != nil { // else it was nearly done
				cancelled++
				wantErr(t, err, context.DeadlineExceeded)
			}
		}
		t.Logf("%d cancelled, %+v", cancelled, c.Stats())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := make([]byte, 4096)
				for range 250 {
					off := rand.IntN(len(data) - len(p))
					if _, err := c.ReadAt(t.Context(), "data", p, int64(off)); err != nil || !bytes.Equal(p, data[off:off+len(p)]) {
						t.Errorf("read at %d: %v", off, err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestInterrupted cancels operations that are nearly done, which costs nothing,
// and one that never will be, which ends soon.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := pattern(1<<20, 11)
	s.WriteFile(t, "data", data)
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	check(t, c.Connect(t.Context()))
	uftp.SetFinishTime(c, 10*time.Second) // "soon" on a busy machine
	for range 10 {
		s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Transfer: true, After: 1000, Stall: true})
		ctx, cancel := context.WithCancel(t.Context())
		before := s.Stats().Commands["RETR"]
		var wg sync.WaitGroup
		wg.Go(func() {
			eventually(t, "the transfer begins", func() bool { return s.Stats().Commands["RETR"] > before })
			cancel()
			s.Faults().Clear()
		})
		p := make([]byte, len(data))
		if n, err := c.ReadAt(ctx, "data", p, 0); err != nil || !bytes.Equal(p, data) {
			t.Errorf("read: %d, %v", n, err)
		}
		wg.Wait()
		if _, err := c.Stat(ctx, "data"); !errors.Is(err, context.Canceled) {
			t.Errorf("stat after the end of the context: %v", err)
		}
	}
	if st := c.Stats(); st.Logins != 1 || st.Sessions != 1 {
		t.Errorf("sessions were lost: %+v", st)
	}
	c = open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	for i := range 100 {
		s.WriteFile(t, fmt.Sprintf("long/%d", i), nil)
	}
	for _, verb := range []string{"STAT", "RETR", "EPSV", "STOR", "MLSD"} {
		if verb == "EPSV" { // a long list takes the data connection that is there
			ok[[]uftp.Info](t)(c.List(t.Context(), "long"))
		}
		s.Faults().Inject(1, uftptest.Fault{Verb: verb, Stall: true})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		start := time.Now()
		var err error
		switch verb {
		case "STAT":
			_, err = c.Stat(ctx, "data")
		case "STOR":
			_, err = c.WriteAt(ctx, "new", data, 0)
		case "MLSD", "EPSV":
			_, err = c.List(ctx, "long")
		default:
			_, err = c.ReadAt(ctx, "data", make([]byte, 10), 0)
		}
		wantErr(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: took %v to give up", verb, d)
		}
		cancel()
		s.Faults().Clear()
		_, err = c.ReadAt(t.Context(), "data", make([]byte, 10), 0)
		check(t, err)
	}
}

// TestPutRangeRefused: a STOR that runs although its RANG was refused writes nobody
// knows where. That session is not used again.
func TestPutRangeRefused(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	uftp.SetLateTime(c, 100*time.Millisecond)
	check(t, c.Connect(t.Context()))
	data := pattern(100_000, 3)
	s.Faults().Inject(1, uftptest.Fault{Verb: "RANG", Reply: "500 no"})
	ok[int64](t)(c.Put(t.Context(), "f", bytes.NewReader(data)))
	if !bytes.Equal(local(t, s, "f"), data) {
		t.Error("wrong bytes")
	}
	if st := c.Stats(); st.Logins != 2 {
		t.Errorf("%d log-ins, want 2", st.Logins)
	}
}
