package uftptest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuirks(t *testing.T) {
	for _, tt := range []struct {
		name     string
		quirks   Quirks
		dialogue string
	}{
		{"errors of 3.4", Quirks{OldErrors: true}, `
@ session
C: FOO
S: 500 Command not implemented.
C: RANG x
S: 500 Error processing command: Argument syntax error
C: RMD nosuch
S: 500 Error processing command: [Errno 2] No such file or directory: '$DIR/nosuch'
`},
		{"inclusive ranges", Quirks{InclusiveRange: true, CleanFEAT: true, UTF8: true}, `
@ file f "0123456789"
@ session
C: FEAT
S: 211-Features:
S:  PASV
S:  EPSV
S:  RANG STREAM
S:  REST STREAM
S:  MFMT
S:  MLSD
S:  MLST
S:  APPE
S:  MFF Modify;UNIX.mode;
S:  KEEP-ALIVE
S:  ARCHIVE
S:  UTF8
S:  RFC_RANG
S:  HASH MD5*;SHA-1;SHA-256;SHA-512
S: 211 END
C: RANG 2 5
S: 350 Restarting at 2. End byte range at 5
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 4 bytes available for reading.
% recv eof
D: "2345"
S: 226 File transfer successful
`},
		{"SIZE and APPE work", Quirks{WorkingSIZE: true, WorkingAPPE: true}, `
@ file f "0123456789"
@ session
C: SIZE f
S: 213 10
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: APPE f
S: 150 OK
% send "abc"
% close
% reply
S: 226 File transfer successful
% show f
F: f: 644 "0123456789abc"
`},
		{"codes of RFC 959", Quirks{StandardCodes: true}, `
@ file f "0123456789"
@ dir d
@ session
C: CWD d
S: 250 OK
C: CWD ..
S: 250 OK
C: RMD d
S: 250 OK
C: RNFR f
S: 350 File action OK Please send rename-to
C: RNTO g
S: 250 OK
C: DELE g
S: 250 OK
C: QUIT
S: 221 Goodbye
% reply
S: <end>
`},
		{"notes of a long HASH", Quirks{HashNotes: true}, `
@ file f ""
@ session
C: HASH f
S: 213-
S: 213 MD5 0-0 d41d8cd98f00b204e9800998ecf8427e $DIR/f
`},
		{"missing base refused", Quirks{RefuseBase: true}, `
@ register base=missing/
R: OK
@ connect
S: 220 UFTPD VERSION, https://www.unicore.eu
C: USER anonymous
S: 331 Please specify the password
C: PASS $SECRET
S: 530 Not logged in: No such directory: $DIR/missing
% reply
S: <end>
`},
		{"every secret persistent", Quirks{AllPersistent: true}, `
@ register
R: OK
@ connect
S: 220 UFTPD VERSION, https://www.unicore.eu
C: USER anonymous
S: 331 Please specify the password
C: PASS $SECRET
S: 230 Login successful
@ connect
S: 220 UFTPD VERSION, https://www.unicore.eu
C: USER anonymous
S: 331 Please specify the password
C: PASS $SECRET
S: 230 Login successful
`},
		{"commands missing", Quirks{Disabled: []string{"MFF", "HASH"}}, `
@ session
C: MFF UNIX.mode=600; f
S: 502 Command not implemented.
C: HASH f
S: 502 Command not implemented.
`},
		{"address of another host", Quirks{AdvertiseHost: "192.0.2.7"}, `
@ session
% noconnect
C: PASV
S: 227 Entering Passive Mode (192,0,2,7,P,P)
`},
		{"nobody connects", Quirks{AcceptTimeout: 20 * time.Millisecond}, `
@ session
% noconnect
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
% reply
S: <end>
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkDialogue(t, Start(t, Config{Quirks: tt.quirks}), tt.dialogue)
		})
	}
}

func TestLineEnds(t *testing.T) {
	for _, tt := range []struct {
		quirks Quirks
		want   string
	}{
		{Quirks{}, "220 UFTPD 3.5.3, https://www.unicore.eu\n"},
		{Quirks{CRLF: true, Version: "2.9.1"}, "220 UFTPD 2.9.1, https://www.unicore.eu\r\n"},
	} {
		s := Start(t, Config{Quirks: tt.quirks})
		p := &player{tb: t, s: s}
		conn := p.dial(s.engine.port)
		buf := make([]byte, 200)
		n, err := conn.Read(buf)
		if got := string(buf[:n]); got != tt.want || err != nil {
			t.Errorf("%q %v, want %q", got, err, tt.want)
		}
		_ = conn.Close()
	}
}

// The port is named before it listens: the first attempt may be refused.
func TestLateListen(t *testing.T) {
	s := Start(t, Config{Quirks: Quirks{LateListen: true}})
	p := &player{tb: t, s: s}
	defer p.close()
	p.setup([]string{"session"})
	p.write("EPSV\r\n")
	p.reply()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ctrl.port))
	refused := false
	ok := pollUntil(playTimeout, func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			refused = true
			return false
		}
		_ = conn.Close()
		return true
	})
	if !ok || !refused {
		t.Errorf("connected: %v, refused before: %v", ok, refused)
	}
}

// Only the control connection's own address may open data connections.
func TestDataConnectionFromElsewhere(t *testing.T) {
	s := Start(t, Config{})
	p := &player{tb: t, s: s}
	defer p.close()
	p.setup([]string{"session"})
	p.ctrl.silent = true
	p.send([]string{"EPSV"})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ctrl.port)))
	if err != nil {
		t.Skip("no other loopback address:", err)
	}
	defer func() { _ = conn.Close() }()
	if got := p.reply(); got[0] != "<end>" {
		t.Errorf("%q, want the end", got)
	}
}

// refusal is the text of a refused registration, "" if there is none.
func refusal(err error) string {
	if r, ok := errors.AsType[refusedError](err); ok {
		return string(r)
	}
	return ""
}

func TestSecrets(t *testing.T) {
	q := Quirks{}.withDefaults()
	job := func(secret string, persistent bool) job {
		return job{user: "u", secret: secret, persistent: persistent}
	}
	t.Run("unused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSecrets(1, q)
			if err := s.register(job("a", false)); err != nil {
				t.Fatal(err)
			}
			if got := refusal(s.register(job("b", false))); got != "Too many active sessions for 'u' - server limit is 1" {
				t.Errorf("over the limit: %q", got)
			}
			if got := refusal(s.register(job("a", false))); !strings.HasPrefix(got, "Too many") {
				t.Errorf("the limit comes first: %q", got)
			}
			time.Sleep(300 * time.Second)
			if s.sweep(); s.find("a") == nil {
				t.Error("expired after 300 s; want later")
			}
			time.Sleep(time.Second)
			if s.sweep(); s.find("a") != nil {
				t.Error("alive after 301 s")
			}
			if err := s.register(job("b", false)); err != nil {
				t.Errorf("the slot is not free: %v", err)
			}
		})
	})
	t.Run("persistent", func(t *testing.T) {
		s := newSecrets(3, q)
		_ = s.register(job("a", true))
		r := s.find("a")
		one, _ := s.login(r)
		two, _ := s.login(r)
		_ = s.register(job("b", false))
		if _, why := s.login(r); !strings.HasPrefix(why, "500 Too many active transfer requests") {
			t.Errorf("over the limit: %q", why)
		}
		s.end(one)
		if _, why := s.login(r); why == "" {
			t.Error("the slot was free before the sweep")
		}
		s.sweep()
		three, why := s.login(r)
		if why != "" {
			t.Errorf("the slot is not free after the sweep: %q", why)
		}
		s.end(two)
		s.end(three)
		if s.find("a") == nil {
			t.Error("dead before the sweep")
		}
		if s.sweep(); s.find("a") != nil {
			t.Error("alive after the sweep that follows the last session")
		}
		if s.counts["u"] != 1 {
			t.Errorf("count is %d, want 1", s.counts["u"])
		}
	})
	t.Run("one-time", func(t *testing.T) {
		s := newSecrets(3, q)
		_ = s.register(job("a", false))
		if got := refusal(s.register(job("a", false))); got != "Duplicate secret - this is not allowed." {
			t.Errorf("twice: %q", got)
		}
		r := s.find("a")
		l, _ := s.login(r)
		s.end(l)
		if _, why := s.login(r); why != "500 Session for these credentials is already running" {
			t.Errorf("second login: %q", why)
		}
		if s.sweep(); s.find("a") != nil || s.counts["u"] != 0 {
			t.Error("not forgotten")
		}
	})
}

// The engine itself sweeps.
func TestSweep(t *testing.T) {
	s := Start(t, Config{MaxConnections: 1, Quirks: Quirks{SweepInterval: 5 * time.Millisecond}})
	play(t, s, "@ session\nC: QUIT\n")
	if !pollUntil(playTimeout, func() bool {
		_, err := s.engine.register(t.Context(), job{user: DefaultUserName, secret: "next"})
		return err == nil
	}) {
		t.Error("the slot of an ended session does not get free")
	}
}

func TestUserKeys(t *testing.T) {
	s := Start(t, Config{})
	if keys, err := s.engine.userKeys(t.Context(), "demo"); err != nil || len(keys) != 0 {
		t.Errorf("without a file: %q %v", keys, err)
	}
	for name, text := range map[string]string{".ssh": "# comment\nssh-ed25519 A a\n", ".uftp": "ssh-rsa B b"} {
		if err := os.Mkdir(filepath.Join(s.Dir(), name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir(), name, "authorized_keys"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.engine.userKeys(t.Context(), "demo")
	if err != nil || strings.Join(keys, "|") != "ssh-ed25519 A a|ssh-rsa B b" {
		t.Errorf("%q %v", keys, err)
	}
}
