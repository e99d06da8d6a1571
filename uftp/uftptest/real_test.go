package uftptest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// credentials are the answer of the auth service.
type credentials struct {
	Host   string `json:"serverHost"`
	Port   int    `json:"serverPort"`
	Secret string `json:"secret"`
}

func obtain(t *testing.T, s *uftptest.Server, body string) credentials {
	t.Helper()
	got := login(s, demo, body).do(t, httpClient(t, s))
	if got.status != 200 {
		t.Fatalf("auth service: %d %s", got.status, got.body)
	}
	var c credentials
	if err := json.Unmarshal([]byte(got.body), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// control is a bare FTP control connection.
type control struct {
	tb    testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

func (c credentials) dial(tb testing.TB) *control {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	return &control{tb, conn, bufio.NewReader(conn)}
}

// login opens a session and returns it with the reply to the password.
func (c credentials) login(tb testing.TB) (*control, string) {
	tb.Helper()
	ftp := c.dial(tb)
	ftp.reply()
	ftp.do("USER anonymous")
	return ftp, ftp.do("PASS " + c.Secret)
}

func (c *control) reply() string {
	c.tb.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		c.tb.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (c *control) do(command string) string {
	c.tb.Helper()
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		c.tb.Fatal(err)
	}
	return c.reply()
}

func mustReply(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func TestSession(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "sub/file.txt", []byte("content"))
		base := s.Dir() + "/sub"
		ftp, reply := obtain(t, s, `{"serverPath":"`+base+`"}`).login(t)
		mustReply(t, "PASS", reply, "230 ")
		mustReply(t, "PWD", ftp.do("PWD"), `257 "`+base+`"`)
		mustReply(t, "MKD", ftp.do("MKD made"), "257 ")
		mustReply(t, "DELE", ftp.do("DELE file.txt"), "200 ")
		fi, err := os.Stat(filepath.Join(base, "made"))
		if err != nil {
			t.Fatal(err)
		}
		st, _ := fi.Sys().(*syscall.Stat_t)
		if s.Real() && st.Uid == 0 {
			t.Error("the session ran as root")
		}
	})
}

// A file that a test wrote itself belongs to the session's user after Chown.
func TestChown(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		if err := os.MkdirAll(filepath.Join(s.Dir(), "a", "b"), 0o700); err != nil {
			t.Fatal(err)
		}
		s.Chown(t)
		ftp, reply := obtain(t, s, emptyPath).login(t)
		mustReply(t, "PASS", reply, "230 ")
		mustReply(t, "RMD", ftp.do("RMD a/b"), "200 ")
	})
}

func TestGroups(t *testing.T) {
	cfg := uftptest.Config{Users: []uftptest.User{
		{Name: "demo", Password: "demo-password", Groups: []string{"demo", "uftpproject"}},
	}}
	uftptest.Each(t, cfg, func(t *testing.T, s *uftptest.Server) {
		_, reply := obtain(t, s, `{"serverPath":"","group":"uftpproject"}`).login(t)
		mustReply(t, "PASS", reply, "230 ")
	})
}

func TestKillSessions(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		cred := obtain(t, s, `{"serverPath":"","persistent":true}`)
		ftp, reply := cred.login(t)
		mustReply(t, "PASS", reply, "230 ")
		if err := s.KillSessions(); err != nil {
			t.Fatal(err)
		}
		if line, err := ftp.lines.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the session lives: %q %v", line, err)
		}
		// The password lives on until UFTPD looks, a few seconds later.
		_, reply = cred.login(t)
		mustReply(t, "PASS again", reply, "230 ")
	})
}

func TestExpireSecrets(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		cred := obtain(t, s, `{"serverPath":"","persistent":true}`)
		ftp, reply := cred.login(t)
		mustReply(t, "PASS", reply, "230 ")
		if err := s.ExpireSecrets(); err != nil {
			t.Fatal(err)
		}
		mustReply(t, "NOOP in the session from before", ftp.do("NOOP"), "200 ")
		_, reply = cred.login(t)
		mustReply(t, "PASS", reply, "530 ")
		_, reply = obtain(t, s, emptyPath).login(t)
		mustReply(t, "PASS with a new password", reply, "230 ")
	})
}

func TestLocation(t *testing.T) {
	for _, loc := range []*time.Location{time.UTC, time.FixedZone("half past", -(3*3600 + 1800)), time.FixedZone("east", 9*3600)} {
		uftptest.Each(t, uftptest.Config{Location: loc}, func(t *testing.T, s *uftptest.Server) {
			s.WriteFile(t, "f", nil)
			mtime := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
			if err := os.Chtimes(filepath.Join(s.Dir(), "f"), mtime, mtime); err != nil {
				t.Fatal(err)
			}
			ftp, reply := obtain(t, s, emptyPath).login(t)
			mustReply(t, "PASS", reply, "230 ")
			ftp.do("MLST f")
			want := "modify=" + mtime.In(loc).Format("20060102150405")
			if line := strings.ToLower(ftp.reply()); !strings.Contains(line, want) {
				t.Errorf("%s: %q, want %s", loc, line, want)
			}
		})
	}
}

// The real server's user exists in its own mount namespace and nowhere else.
func TestRealLeavesMachineAlone(t *testing.T) {
	before, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	s := uftptest.StartReal(t, uftptest.Config{})
	_, reply := obtain(t, s, emptyPath).login(t)
	mustReply(t, "PASS", reply, "230 ")
	after, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("/etc/passwd has changed")
	}
	now, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	added := strings.Split(string(now), "\n")
	for line := range strings.SplitSeq(string(mounts), "\n") {
		added = slices.DeleteFunc(added, func(l string) bool { return l == line })
	}
	for _, line := range added {
		if strings.Contains(line, " /etc/") {
			t.Errorf("mounted: %s", line)
		}
	}
}

// When the test is over, no process of the server is left, sessions included.
func TestRealEnds(t *testing.T) {
	var port int
	t.Run("server", func(t *testing.T) {
		s := uftptest.StartReal(t, uftptest.Config{})
		cred := obtain(t, s, `{"serverPath":"","persistent":true}`)
		port = cred.Port
		_, reply := cred.login(t)
		mustReply(t, "PASS", reply, "230 ")
		if err := s.ExpireSecrets(); err != nil { // there are two generations now
			t.Fatal(err)
		}
	})
	if port == 0 {
		t.Skip("no real server")
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range environs {
		env, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(env), "\x00SERVER_PORT="+strconv.Itoa(port)+"\x00") {
			t.Errorf("%s is alive", filepath.Dir(name))
		}
	}
}
