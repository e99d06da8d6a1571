package uftptest

import (
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// checkDialogue plays a dialogue to s: what it answers must be what is written.
func checkDialogue(t *testing.T, s *Server, text string) {
	t.Helper()
	text = strings.TrimLeft(text, "\n")
	if diff := cmp.Diff(strings.Split(text, "\n"), strings.Split(play(t, s, text), "\n")); diff != "" {
		t.Errorf("dialogue (-want, +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name     string
		faults   []Fault
		always   bool
		dialogue string
	}{
		{"reply in place of a command", []Fault{{Verb: "MKD", Reply: "550 no"}}, false, `
@ session
C: MKD d
S: 550 no
C: MKD d
S: 257 "$DIR/d" directory created
`},
		{"every command", []Fault{{Reply: "421 go away"}}, true, `
@ session
C: MKD d
S: 421 go away
C: NOOP
S: 421 go away
`},
		{"garbage and more than one line", []Fault{{Verb: "NOOP", Reply: "\x00\xff garbage\n200 OK"}}, false, `
@ session
C: NOOP
S: ` + "\x00\xff" + ` garbage
S: 200 OK
`},
		{"an overlong line", []Fault{{Verb: "NOOP", Reply: "200 " + strings.Repeat("x", 20000)}}, false, `
@ session
C: NOOP
S: 200 ` + strings.Repeat("x", 20000) + `
`},
		{"after some others", []Fault{{Verb: "NOOP", Skip: 2, Reply: "500 third"}}, false, `
@ session
C: NOOP
S: 200 OK
C: MKD d
S: 257 "$DIR/d" directory created
C: NOOP
S: 200 OK
C: NOOP
S: 500 third
C: NOOP
S: 200 OK
`},
		{"taking turns", []Fault{{Verb: "NOOP", Reply: "500 one"}, {Verb: "NOOP", Reply: "500 two"}}, false, `
@ session
C: NOOP
S: 500 one
C: NOOP
S: 500 two
C: NOOP
S: 200 OK
`},
		{"an errno", []Fault{{Verb: "RMD", Errno: syscall.EACCES}, {Verb: "STOR", Errno: syscall.EDQUOT}}, false, `
@ dir d
@ session
C: RMD d
S: 500 Error processing command 'RMD': [Errno 13] Permission denied: '$DIR/d'
C: RMD d
S: 200 OK
C: STOR f
S: 500 Error processing command 'STOR': [Errno 122] Disk quota exceeded: '$DIR/f'
% show f
F: f: [Errno 2] No such file or directory
`},
		{"no space in mid-transfer", []Fault{{Verb: "STOR", Transfer: true, After: 5, Errno: syscall.ENOSPC}}, false, `
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: STOR f
S: 150 OK
% send "0123456789"
% reply
S: 500 Error processing command 'STOR': [Errno 28] No space left on device
% show f
F: f: 644 "01234"
`},
		{"data cut", []Fault{{Verb: "RETR", Cut: true, After: 4}}, false, `
@ file f "0123456789"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% reply
S: 500 Error processing command 'RETR': [Errno 104] Connection reset by peer
C: NOOP
S: 200 OK
`},
		{"a transfer that is shorter goes unharmed", []Fault{{Verb: "RETR", Cut: true, After: 10}}, false, `
@ file f "0123456789"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% recv eof
D: "0123456789"
S: 226 File transfer successful
`},
		{"short reads and writes", []Fault{{Verb: "RETR", Short: true, After: 4}, {Verb: "STOR", Short: true, After: 3}}, false, `
@ file f "0123456789"
@ session
C: OPTS SENDFILE_ENABLED true
S: 200 SENDFILE_ENABLED=true
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% recv eof
D: "0123"
S: 226 File transfer successful
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RANG 0 5
S: 350 Restarting at 0. End byte range at 5
C: STOR f
S: 150 OK
% send "ABCDE"
% reply
S: 226 File transfer successful
% show f
F: f: 644 "ABC3456789"
`},
		{"a listing cut short", []Fault{{Verb: "MLSD", Short: true}}, false, `
@ file f "x"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: MLSD
S: 150 OK
% recv eof
D: ""
S: 226 File transfer successful
`},
		{"the 226 lost", []Fault{{Verb: "RETR", LoseReply: true}}, false, `
@ file f "0123456789"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% recv eof
D: "0123456789"
% raw "NOOP\r\n"
% reply
S: 200 OK
`},
		{"another last reply", []Fault{{Verb: "RETR", LastReply: "451 well"}, {Verb: "MLST", LastReply: "200 what"}}, false, `
@ file f "0123456789"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% recv eof
D: "0123456789"
S: 451 well
C: MLST nosuch
S: 200 what
`},
		{"killed", []Fault{{Verb: "NOOP", Skip: 1, Kill: true}}, false, `
@ session
C: NOOP
S: 200 OK
C: NOOP
S: <end>
`},
		{"killed in mid-transfer", []Fault{{Verb: "RETR", Transfer: true, After: 4, Kill: true}}, false, `
@ file f "0123456789"
@ session
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
C: RETR f
S: 150 OK 10 bytes available for reading.
% recv eof
D: "0123"
S: <end>
`},
		{"login refused", []Fault{{Verb: FaultLogin, Reply: "530 not today"}}, false, `
@ register persistent
R: OK
@ connect
S: 220 UFTPD VERSION, https://www.unicore.eu
C: USER anonymous
S: 331 Please specify the password
C: PASS $SECRET
S: 530 not today
% reply
S: <end>
@ connect
S: 220 UFTPD VERSION, https://www.unicore.eu
C: USER anonymous
S: 331 Please specify the password
C: PASS $SECRET
S: 230 Login successful
`},
		{"no greeting", []Fault{{Verb: FaultConnect, Kill: true}, {Verb: FaultConnect, Reply: "421 full"}}, false, `
@ connect
S: <end>
@ connect
S: 421 full
% reply
S: <end>
`},
		{"no data connections", []Fault{{Verb: "EPSV", Reply: "500 none left"}, {Verb: FaultData, Kill: true}}, false, `
@ session
C: EPSV
S: 500 none left
C: EPSV
S: 229 Entering Extended Passive Mode (|||PORT|)
% reply
S: <end>
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Start(t, Config{})
			n := 1
			if tt.always {
				n = -1
			}
			for _, f := range tt.faults {
				s.Faults().Inject(n, f)
			}
			checkDialogue(t, s, tt.dialogue)
		})
	}
}

// What stalls goes on after Clear, and ends with the server.
func TestFaultStall(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		fault               Fault
	}{
		{"command", "@ session", "C: NOOP\nS: 200 OK\n", Fault{Verb: "NOOP", Stall: true}},
		{"greeting", "", "@ connect\nS: 220 UFTPD VERSION, https://www.unicore.eu\n", Fault{Verb: FaultConnect, Stall: true}},
		{
			"transfer", "@ file f \"0123456789\"\n@ session\nC: EPSV\nC: RETR f\n% recv 4", "% recv eof\nD: \"456789\"\nS: 226 File transfer successful\n",
			Fault{Verb: "RETR", Transfer: true, After: 4, Stall: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Start(t, Config{})
			s.Faults().Inject(1, tt.fault)
			p := &player{tb: t, s: s}
			defer p.close()
			for line := range strings.SplitSeq(tt.before, "\n") {
				p.line(line)
			}
			p.out.Reset()
			const stall = 50 * time.Millisecond
			start := time.Now()
			timer := time.AfterFunc(stall, s.Faults().Clear)
			defer timer.Stop()
			var want strings.Builder
			for line := range strings.Lines(tt.after) {
				if line[1] == ':' && line[0] != 'C' {
					want.WriteString(line)
					continue
				}
				p.line(strings.TrimSpace(line))
			}
			p.settle()
			if got := p.out.String(); got != want.String() {
				t.Errorf("got %q, want %q", got, want.String())
			}
			if d := time.Since(start); d < stall {
				t.Errorf("stalled for %v only", d)
			}
		})
	}
}

// A data connection that is reset at once costs the transfer, not the session.
func TestFaultDataCut(t *testing.T) {
	s := Start(t, Config{})
	s.Faults().Inject(1, Fault{Verb: FaultData, Cut: true})
	p := &player{tb: t, s: s}
	defer p.close()
	for _, line := range []string{`@ file f "0123456789"`, "@ session", "% noconnect", "C: EPSV"} {
		p.line(line)
	}
	// The reset may come while the client still thinks it is connecting.
	d := net.Dialer{Timeout: playTimeout}
	if conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ctrl.port))); err == nil {
		defer func() { _ = conn.Close() }()
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes", n)
		}
	}
	p.out.Reset()
	p.line("C: RETR f")
	p.line("% reply")
	want := "S: 150 OK 10 bytes available for reading.\n" +
		"S: 500 Error processing command 'RETR': [Errno 104] Connection reset by peer\n"
	if got := p.out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A stalled session does not keep the server from closing.
func TestCloseWhileStalled(t *testing.T) {
	s := Start(t, Config{})
	s.Faults().Inject(-1, Fault{Verb: "NOOP", Stall: true})
	p := &player{tb: t, s: s}
	defer p.close()
	p.setup([]string{"session"})
	p.write("NOOP\r\n")
	if !pollUntil(playTimeout, func() bool { return s.Stats().Commands["NOOP"] == 1 }) {
		t.Fatal("the command did not arrive")
	}
}

func TestStats(t *testing.T) {
	s := Start(t, Config{})
	play(t, s, `
@ file f "0123456789"
@ session
C: KEEP-ALIVE true
C: EPSV
C: RANG 0 4
C: RETR f
% recv 4
C: ALLO 3
C: STOR g
% send "abc"
C: noop
C: BOGUS
@ session
@ session
C: QUIT
`)
	if !pollUntil(playTimeout, func() bool { return s.Stats().Sessions == 0 }) {
		t.Fatal("sessions do not end")
	}
	got := s.Stats()
	want := Stats{
		Commands: map[string]int64{
			"KEEP-ALIVE": 1, "EPSV": 1, "RANG": 1, "RETR": 1, "ALLO": 1, "STOR": 1, "NOOP": 1, "BOGUS": 1, "QUIT": 1,
		},
		Connections: 3, Logins: 3, PeakSessions: 3, DataConnections: 1, Transfers: 2, BytesSent: 4, BytesReceived: 3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}
