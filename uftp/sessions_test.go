package uftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// eventually waits for a condition that other goroutines bring about.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("never happened: %s", what)
		}
	}
}

// TestSessionLimit has more work at a time than the server allows sessions.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			uftptest.Each(t, uftptest.Config{MaxConnections: limit}, func(t *testing.T, s *uftptest.Server) {
				data := pattern(1<<20, 20)
				s.WriteFile(t, "data", data)
				c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 4 })
				check(t, c.Connect(t.Context()))
				var wg sync.WaitGroup
				for w := range 8 {
					wg.Go(func() {
						p := make([]byte, 1000)
						for i := range 20 {
							off := w*100000 + i*17
							if n, err := c.ReadAt(t.Context(), "data", p, int64(off)); err != nil || !bytes.Equal(p[:n], data[off:off+n]) {
								t.Errorf("read: %v", err)
							}
							if _, err := c.WriteAt(t.Context(), fmt.Sprint("w", w), p, int64(i*1000)); err != nil {
								t.Errorf("write: %v", err)
							}
							if _, err := c.List(t.Context(), ""); err != nil {
								t.Errorf("list: %v", err)
							}
						}
					})
				}
				wg.Wait()
				if st := c.Stats(); st.Sessions != limit || st.SessionLimit != limit || st.Auths != 1 || st.Logins != int64(limit) {
					t.Errorf("stats %+v", st)
				}
			})
		})
	}
}

// TestSessionLimitLostSession loses the only session the server allows. Its slot
// is free some seconds later: operations wait.
func TestSessionLimitLostSession(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1, Quirks: uftptest.Quirks{SweepInterval: time.Second}})
	s.WriteFile(t, "data", []byte("0123456789"))
	c := open(t, s)
	check(t, c.Connect(t.Context()))
	check(t, s.KillSessions())
	if _, err := c.ReadAt(t.Context(), "data", make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
	if st := c.Stats(); st.Auths != 2 {
		t.Errorf("stats %+v", st)
	}
}

// TestBusy has another client hold the only session. TestPoolFailures shows how
// long Connect is patient.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1, Quirks: uftptest.Quirks{SweepInterval: 50 * time.Millisecond}})
	other := open(t, s)
	check(t, other.Connect(t.Context()))
	c := open(t, s, func(c *uftp.Config) { c.IOTimeout = 2 * time.Second })
	_, err := c.Stat(t.Context(), "")
	wantErr(t, err, uftp.ErrBusy)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.Stat(ctx, "")
	wantErr(t, err, uftp.ErrBusy, context.DeadlineExceeded)
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	wantErr(t, c.Connect(ctx), uftp.ErrBusy, context.DeadlineExceeded)
	check(t, other.Close())
	check(t, c.Connect(t.Context()))
}

// TestIdle gives everything back after a while, and comes again.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Quirks: uftptest.Quirks{SweepInterval: 20 * time.Millisecond}})
	c := open(t, s, func(c *uftp.Config) { c.IdleTimeout = 100 * time.Millisecond })
	for range 3 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := c.List(t.Context(), ""); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		eventually(t, "sessions are given back", func() bool { return c.Stats().Sessions == 0 && s.Stats().Sessions == 0 })
	}
}

// TestDeadSession does not use a session that died while it was idle: for
// operations that must not run twice that would take a look at the server first.
func TestDeadSession(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s)
	check(t, c.Connect(t.Context()))
	check(t, s.KillSessions())
	eventually(t, "the session has ended", func() bool { return s.Stats().Sessions == 0 })
	check(t, c.Mkdir(t.Context(), "d"))
	if st := c.Stats(); st.Retries != 0 || st.Logins != 2 {
		t.Errorf("stats %+v", st)
	}
}

// TestSettings sees what a session is told at its beginning.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	check(t, open(t, s).Connect(t.Context()))
	for _, verb := range []string{"KEEP-ALIVE", "OPTS"} { // OPTS SENDFILE_ENABLED
		if n := s.Stats().Commands[verb]; n != 1 {
			t.Errorf("%d %s commands", n, verb)
		}
	}
}

// TestMissingNameCostsData knows that the server closes the data connection when
// a name is not there, even where it cannot look at the socket.
func TestMissingNameCostsData(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "data", pattern(1000, 27))
		c := open(t, s, func(c *uftp.Config) {
			c.MaxSessions = 1
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return struct{ net.Conn }{conn}, err
			}
		})
		for range 3 {
			_, err := c.ReadAt(t.Context(), "data", make([]byte, 1000), 0)
			check(t, err)
			_, err = c.Stat(t.Context(), "absent")
			wantErr(t, err, fs.ErrNotExist)
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestAnchor keeps the password alive while the client is in use.
func TestAnchor(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Quirks: uftptest.Quirks{SweepInterval: 10 * time.Millisecond}})
	c := open(t, s, func(c *uftp.Config) { c.IdleTimeout = 200 * time.Millisecond })
	for start := time.Now(); time.Since(start) < time.Second; {
		if _, err := c.Stat(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if st := c.Stats(); st.Auths != 1 || st.Logins != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestConnectErrors(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, refused.Close())
	stat := func(c *uftp.Client) error { _, err := c.Stat(t.Context(), "f"); return err }
	for name, tt := range map[string]struct {
		option func(*uftp.Config)
		want   error
	}{
		"wrong password": {func(c *uftp.Config) {
			c.Access.Credential = uftp.UsernamePassword{Username: "demo", Password: "Hemlock-7"}
		}, uftp.ErrAuth},
		"no base directory": {func(c *uftp.Config) { c.BaseDir += "/no/such" }, fs.ErrNotExist},
		"untrusted":         {func(c *uftp.Config) { c.Access.CABundle = nil }, uftp.ErrUntrusted},
		"unknown server":    {func(c *uftp.Config) { c.AuthURL += "X" }, fs.ErrNotExist},
		"auth unreachable":  {func(c *uftp.Config) { c.AuthURL = "https://" + refused.Addr().String() + "/rest/auth/TEST" }, uftp.ErrUnavailable},
		"server unreachable": {func(c *uftp.Config) {
			c.Login = &uftp.Login{Host: "127.0.0.1", Port: refused.Addr().(*net.TCPAddr).Port}
		}, uftp.ErrUnavailable},
		"unknown group":       {func(c *uftp.Config) { c.Group = "nogroup" }, fs.ErrInvalid},
		"address not allowed": {func(c *uftp.Config) { c.ClientAddress = "10.1.2.3" }, uftp.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, s, tt.option)
			start := time.Now()
			err := c.Connect(t.Context())
			wantErr(t, err, tt.want)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
			if strings.Contains(fmt.Sprint(err), "Hemlock") {
				t.Errorf("error shows the password: %v", err)
			}
			if name != "no base directory" {
				return
			}
			for op, err := range map[string]error{"connect": err, "stat": stat(c), "truncate": c.Truncate(t.Context(), "f", 1)} {
				if !strings.Contains(fmt.Sprint(err), `"`+s.Dir()+`/no/such"`) {
					t.Errorf("%s: the error does not name the base directory: %v", op, err)
				}
			}
		})
	}
	t.Run("real", func(t *testing.T) {
		s := uftptest.StartReal(t, uftptest.Config{})
		wantErr(t, open(t, s, func(c *uftp.Config) { c.BaseDir += "/absent" }).Connect(t.Context()), fs.ErrNotExist)
	})
	t.Run("silent server", func(t *testing.T) {
		s.Faults().Inject(1, uftptest.Fault{Verb: uftptest.FaultConnect, Stall: true})
		defer s.Faults().Clear()
		c := open(t, s, func(c *uftp.Config) { c.DialTimeout = 300 * time.Millisecond })
		wantErr(t, c.Connect(t.Context()), uftp.ErrUnavailable)
		check(t, c.Connect(t.Context()))
	})
	t.Run("cancelled", func(t *testing.T) {
		s.Faults().Inject(1, uftptest.Fault{Verb: uftptest.FaultConnect, Stall: true})
		defer s.Faults().Clear()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		wantErr(t, open(t, s).Connect(ctx), context.DeadlineExceeded)
	})
}

// TestPassiveFallback has a server whose EPSV ports cannot be reached at its own
// address, only at the one that its PASV replies tell.
func TestPassiveFallback(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Quirks: uftptest.Quirks{AdvertiseHost: "127.0.0.9", AcceptTimeout: time.Second}})
	data := pattern(10000, 22)
	s.WriteFile(t, "data", data)
	var control atomic.Value
	c := open(t, s, func(c *uftp.Config) {
		c.MaxSessions = 1
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(addr)
			switch {
			case strings.Contains(s.AuthURL(), addr):
			case control.CompareAndSwap(nil, addr), control.Load() == addr:
			case host == "127.0.0.9":
				addr = net.JoinHostPort("127.0.0.1", port)
			default:
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	for range 3 {
		p := make([]byte, len(data))
		if _, err := c.ReadAt(t.Context(), "data", p, 0); err != nil || !bytes.Equal(p, data) {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	// The session that found out was not used for anything else.
	if st := c.Stats(); st.Logins != 1 || st.Retries != 0 {
		t.Errorf("stats %+v", st)
	}
	if n := s.Stats().Logins; n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

// TestRoundTrips counts waits for the server on a session that has a data
// connection.
func TestRoundTrips(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(8<<20, 23)
		s.WriteFile(t, "data", data)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		ctx := t.Context()
		p := make([]byte, len(data))
		check(t, c.Connect(ctx))
		for _, tt := range []struct {
			name string
			want int64
			op   func() error
		}{
			{"stat", 1, func() error { _, err := c.Stat(ctx, "data"); return err }},
			{"first read", 2, func() error { _, err := c.ReadAt(ctx, "data", p[:1000], 0); return err }},
			{"read", 1, func() error { _, err := c.ReadAt(ctx, "data", p[:1000], 5000); return err }},
			{"large read", 1, func() error { _, err := c.ReadAt(ctx, "data", p, 0); return err }},
			{"read over the end", 4, func() error {
				_, err := c.ReadAt(ctx, "data", p[:1000], int64(len(data)-10))
				if err == io.EOF { //nolint:errorlint // itself
					err = nil
				}
				return err
			}},
			{"write", 1, func() error { _, err := c.WriteAt(ctx, "w", p[:1000], 0); return err }},
			{"large write", 1, func() error { _, err := c.WriteAt(ctx, "w", p, 0); return err }},
			{"create", 1, func() error { _, err := c.Create(ctx, "w"); return err }},
			{"list", 1, func() error { _, err := c.List(ctx, ""); return err }}, // takes the data connection
			{"list again", 2, func() error { _, err := c.List(ctx, ""); return err }},
			{"mkdir", 1, func() error {
				info, err := c.NewDir(ctx, "d")
				if err == nil && (info.Name != "d" || !info.IsDir() || info.Mode.Perm() == 0) {
					t.Errorf("new directory: %+v", info)
				}
				return err
			}},
			{"rmdir", 1, func() error { return c.Rmdir(ctx, "d") }},
			{"rename", 1, func() error { return c.Rename(ctx, "w", "v") }},
			{"remove", 1, func() error { return c.Remove(ctx, "v") }},
			{"chmod", 1, func() error { return c.Chmod(ctx, "data", 0o600) }},
			{"chtimes", 1, func() error { return c.Chtimes(ctx, "data", time.Unix(1e9, 0)) }},
			{"mode and time", 1, func() error {
				info, err := c.SetAttr(ctx, "data", uftp.Attr{Mode: 0o640, SetMode: true, ModTime: time.Unix(1e9+1, 0)})
				if err == nil && (info.Mode != 0o640 || info.ModTime.Unix() != 1e9+1 || info.Size != int64(len(data))) {
					t.Errorf("after setting mode and time: %+v", info)
				}
				return err
			}},
			{"hash", 1, func() error { _, err := c.Hash(ctx, "data", "MD5", 0, 10); return err }},
		} {
			// Where the machine is busy, a large transfer may look like a short one, or
			// like several: then another one must not.
			slack, attempts := int64(0), 1
			if strings.HasPrefix(tt.name, "large") {
				slack, attempts = 2, 10
			}
			got := tt.want + slack + 1
			for ; attempts > 0 && got > tt.want+slack; attempts-- {
				before := c.Stats().RoundTrips
				check(t, tt.op())
				got = c.Stats().RoundTrips - before
			}
			if got < tt.want || got > tt.want+slack {
				t.Errorf("%s: %d round trips, want %d", tt.name, got, tt.want)
			}
		}
	})
}

// TestRangeIsForgotten has a transfer fail, which leaves its range set on the
// server, before each operation on a whole file.
func TestRangeIsForgotten(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(10000, 25)
		s.WriteFile(t, "data", data)
		s.WriteFile(t, "emptied", data)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		ctx := t.Context()
		fail := func() {
			t.Helper()
			_, err := c.ReadAt(ctx, "absent", make([]byte, 5), 100)
			wantErr(t, err, fs.ErrNotExist)
		}
		fail()
		r, info, err := c.Get(ctx, "data")
		check(t, err)
		if got := ok[[]byte](t)(io.ReadAll(r)); !bytes.Equal(got, data) || info.Size != int64(len(data)) {
			t.Errorf("Get: %d bytes of %d", len(got), info.Size)
		}
		check(t, r.Close())
		fail()
		check(t, second(c.Put(ctx, "data", bytes.NewReader(data[:500]))))
		if got := local(t, s, "data"); !bytes.Equal(got, data[:500]) {
			t.Errorf("Put: %d bytes", len(got))
		}
		fail()
		ok[uftp.Info](t)(c.Create(ctx, "emptied"))
		if got := local(t, s, "emptied"); len(got) != 0 {
			t.Errorf("Create: %d bytes", len(got))
		}
		_, err = c.Hash(ctx, "absent", "SHA-256", 100, 5)
		wantErr(t, err, fs.ErrNotExist)
		sum, err := c.Hash(ctx, "data", "SHA-256", 0, -1)
		check(t, err)
		if want := fmt.Sprintf("%x", sha256.Sum256(data[:500])); sum != want {
			t.Errorf("Hash: %s, want %s", sum, want)
		}
		fail()
		l, err := c.List(ctx, "")
		check(t, err)
		if len(l) != 2 {
			t.Errorf("List: %v", l)
		}
		if st := c.Stats(); st.Logins != 1 || st.Retries != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestDescriptors counts descriptors after a busy life.
func TestDescriptors(t *testing.T) {
	count := func() int {
		l, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(l)
	}
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 100, Quirks: uftptest.Quirks{AcceptTimeout: 200 * time.Millisecond}})
	s.WriteFile(t, "data", pattern(100000, 24))
	before := count()
	for range 5 {
		c := open(t, s)
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			_, _ = c.ReadAt(ctx, "data", make([]byte, 100000), 0)
			_, _ = c.List(ctx, "")
			cancel()
		}
		_, _ = c.ReadAt(t.Context(), "data", make([]byte, 10), 99995)
		check(t, c.Close())
		_, err := c.Stat(t.Context(), "data")
		wantErr(t, err)
	}
	eventually(t, "descriptors are closed", func() bool { return count() <= before })
}

// TestRefusedCredential asks the auth service rarely with a credential that it
// refused, and at once with another one.
func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	var dials atomic.Int32
	c := open(t, s, func(c *uftp.Config) {
		c.Access.Credential = uftp.UsernamePassword{Username: "demo", Password: "Hemlock-8"}
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	for range 10 {
		_, err := c.Stat(t.Context(), "")
		wantErr(t, err, uftp.ErrAuth)
	}
	if n := dials.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
	c.UpdateAccess(uftp.Access{
		Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
		CABundle:   s.CABundle(),
	})
	_, err := c.Stat(t.Context(), "")
	check(t, err)
}

// TestNoSecretsInLogsAndErrors collects what a client with a hard life says.
func TestNoSecretsInLogsAndErrors(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	say := func(v ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(&said, v...)
	}
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 2, Quirks: uftptest.Quirks{SweepInterval: 50 * time.Millisecond}})
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { say(string(p)); return len(p), nil }),
		&slog.HandlerOptions{Level: slog.LevelDebug}))
	var passwords []string
	c := open(t, s, func(c *uftp.Config) {
		c.Logger = log
		c.IOTimeout = time.Second
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return spy{conn, func(p []byte) {
				if _, rest, ok := bytes.Cut(p, []byte("PASS ")); ok {
					mu.Lock()
					defer mu.Unlock()
					password, _, _ := bytes.Cut(rest, []byte("\r\n"))
					passwords = append(passwords, string(password))
				}
			}}, err
		}
	})
	for _, f := range []uftptest.Fault{
		{}, {Verb: uftptest.FaultConnect, Reply: "garbage"}, {Verb: uftptest.FaultLogin, Reply: "530 Not logged in: no matching transfer request found"},
		{Verb: uftptest.FaultLogin, Reply: "500 who are you"}, {Verb: uftptest.FaultLogin, Kill: true}, {Verb: "FEAT", Kill: true},
	} {
		s.Faults().Inject(3, f)
		_, err := c.Stat(t.Context(), "absent")
		for verb := range strings.FieldsSeq("%v %+v %#v %s %q %x %X %d %t %p") {
			for e := err; e != nil; e = errors.Unwrap(e) {
				say(fmt.Sprintf(verb, e))
			}
			say(fmt.Sprintf(verb, c), fmt.Sprintf(verb, c.Stats()))
		}
		s.Faults().Clear()
		say(s.ExpireSecrets(), s.KillSessions())
	}
	check(t, c.Close())
	say(fmt.Sprintf("%+v", c.Stats()))
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range append(passwords, uftptest.DefaultUserPassword) {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q was said:\n%s", secret, said.String())
		}
	}
	if len(passwords) < 3 || said.Len() == 0 {
		t.Errorf("%d passwords seen, %d bytes said: the test sees nothing", len(passwords), said.Len())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// spy sees what is written.
type spy struct {
	net.Conn
	see func([]byte)
}

func (s spy) Write(p []byte) (int, error) { s.see(p); return s.Conn.Write(p) }

// TestNewFiles: names that are looked up before they are made do not cost the
// data connection that the files are written on.
func TestNewFiles(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		ctx := t.Context()
		newFile := func(name string) (trips int64) {
			before := c.Stats().RoundTrips
			_, err := c.Stat(ctx, name)
			wantErr(t, err, fs.ErrNotExist)
			ok[uftp.Info](t)(c.Create(ctx, name))
			ok[int](t)(c.WriteAt(ctx, name, []byte("x"), 0))
			return c.Stats().RoundTrips - before
		}
		newFile("first")
		newFile("second") // whose question takes the data connection of the first
		eventually(t, "a session for questions", func() bool { return c.Stats().IdleSessions == 2 })
		newFile("third") // perhaps on a session without a data connection
		for i := range 5 {
			if got := newFile(fmt.Sprint("f", i)); got != 3 {
				t.Errorf("%d round trips for a new file, want 3", got)
			}
		}
	})
}
