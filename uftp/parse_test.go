package uftp

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseReplyLine(t *testing.T) {
	for _, tt := range []struct {
		line string
		want reply
		more bool
		ok   bool
	}{
		{"200 OK", reply{code: 200, text: "OK"}, false, true},
		{"200", reply{code: 200}, false, true},
		{"200 ", reply{code: 200}, false, true},
		{"211-Features:", reply{code: 211, text: "Features:"}, true, true},
		{"213-", reply{code: 213}, true, true},
		{"226 a\rb", reply{code: 226, text: "a\rb"}, false, true},
		{"", reply{}, false, false},
		{"20", reply{}, false, false},
		{"2x0 OK", reply{}, false, false},
		{"200OK", reply{}, false, false},
		{" -rw- 1 2 x", reply{}, false, false},
		{"099 x", reply{}, false, false},
		{"999 x", reply{}, false, false},
	} {
		got, more, err := parseReplyLine(tt.line)
		if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(reply{})); d != "" && tt.ok || more != tt.more || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, %v, %v", tt.line, got, more, err)
		}
		if err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", tt.line, err)
		}
	}
}

func TestCauses(t *testing.T) {
	for _, tt := range []struct {
		code int
		text string
		want []error
	}{
		{500, "Error processing command 'MKD': [Errno 17] File exists: '/x'", []error{fs.ErrExist, syscall.EEXIST}},
		{500, "Error processing command 'RMD': [Errno 39] Directory not empty: '/x'", []error{syscall.ENOTEMPTY}},
		{500, "Error processing command 'STOR': [Errno 13] Permission denied: '/x'", []error{fs.ErrPermission, syscall.EACCES}},
		{500, "Error processing command 'STOR': [Errno 2] No such file or directory: '/x'", []error{fs.ErrNotExist}},
		{500, "Error processing command 'STOR': [Errno 28] No space left on device", []error{syscall.ENOSPC}},
		{500, "Error processing command 'STOR': [Errno 122] Disk quota exceeded", []error{syscall.EDQUOT}},
		{500, "Error processing command 'STOR': [Errno 30] Read-only file system: '/x'", []error{fs.ErrPermission, syscall.EROFS}},
		{500, "Error processing command 'RETR': [Errno 22] Invalid argument", []error{fs.ErrInvalid, syscall.EINVAL}},
		{500, "Error processing command 'MKD': [Errno 36] File name too long: '/x'", []error{syscall.ENAMETOOLONG}},
		{500, "Error processing command 'RETR': [Errno 32] Broken pipe", []error{ErrUnavailable}},
		{500, "Error processing command 'RETR': [Errno 104] Connection reset by peer", []error{ErrUnavailable}},
		{500, "Error processing command 'RETR': 'NoneType' object has no attribute 'write'", []error{ErrUnavailable}},
		{500, "Error processing command 'EPSV': [Errno 24] Too many open files", []error{ErrUnavailable}},
		{500, "Error processing command 'STAT': Directory/file does not exist or cannot be accessed!", []error{fs.ErrNotExist}},
		{500, "Error processing command 'MFMT': too many values to unpack (expected 2)", []error{ErrProtocol}},
		{500, "Too many active transfer requests / sessions for 'u' - server limit is 4", []error{ErrBusy}},
		{500, "Session for these credentials is already running", []error{ErrBusy}},
		{500, "Error establishing connection: Rejecting connection for 'u' from 127.0.0.1, allowed: ['10.1.2.3']", []error{ErrAuth}},
		{500, "Command not implemented.", []error{errors.ErrUnsupported}},
		{501, "Argument syntax error", []error{fs.ErrInvalid}},
		{502, "Command not implemented.", []error{errors.ErrUnsupported}},
		{530, "Not logged in: no matching transfer request found", []error{ErrAuth, errPassword}},
		{530, "Not logged in: Attempted to select unknown user 'x'", []error{ErrAuth}},
		{534, "Error processing command 'RETR': Forbidden: /etc/passwd not in /srv/data", []error{fs.ErrPermission}},
		{550, "Error processing command 'MLSD': Directory does not exist.", []error{fs.ErrNotExist}},
		{550, "Error processing command 'CWD': Can't cwd to directory: [Errno 13] Permission denied: '/x'", []error{fs.ErrPermission}},
		{425, "Can't open data connection", []error{ErrUnavailable}},
		{500, "Error [Errno x]", []error{ErrProtocol}},
	} {
		r := refuse(tt.code, tt.text)
		for _, want := range tt.want {
			if !errors.Is(r, want) {
				t.Errorf("%d %s: cause is %v, want %v", tt.code, tt.text, r.cause, want)
			}
		}
		if !isRefusal(r) {
			t.Errorf("%d %s: is no refusal", tt.code, tt.text)
		}
	}
}

func TestFromLibrary(t *testing.T) {
	for _, tt := range []struct {
		err     error
		want    error
		refusal bool
	}{
		{nil, nil, false},
		{&textproto.Error{Code: 200, Msg: "OK"}, nil, false},
		{&textproto.Error{Code: 550, Msg: "no"}, fs.ErrNotExist, true},
		{&textproto.Error{Code: 350, Msg: "what"}, ErrProtocol, false},
		{&textproto.Error{Code: 421, Msg: "bye"}, ErrUnavailable, false},
		{textproto.ProtocolError("short response"), ErrProtocol, false},
		{io.EOF, ErrUnavailable, false},
	} {
		got := fromLibrary(tt.err)
		if !errors.Is(got, tt.want) || isRefusal(got) != tt.refusal {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||46155|)": 46155,
		"Entering Extended Passive Mode (!!!1!)":     1,
		"(|||65535|)":                                65535,
		"(|||65536|)":                                0,
		"(|||0|)":                                    0,
		"(|||-1|)":                                   0,
		"(|||12":                                     0,
		"|||12|":                                     0,
		"(":                                          0,
		"":                                           0,
	} {
		if got, err := parseEPSV(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	type address struct {
		host string
		port int
	}
	for text, want := range map[string]address{
		"Entering Passive Mode (127,0,0,1,148,95)": {"127.0.0.1", 148<<8 | 95},
		"(::ffff:127,0,0,1,157,63)":                {"127.0.0.1", 157<<8 | 63},
		"(::1,142,165)":                            {"::1", 142<<8 | 165},
		"(data.example.org,1,0)":                   {"data.example.org", 256},
		"(127,0,0,1,256,1)":                        {},
		"(127,0,0,1,0,0)":                          {},
		"(,1,1)":                                   {},
		"(1,1)":                                    {},
		"(a b,1,1)":                                {},
		"(a/b,1,1)":                                {},
		"127,0,0,1,1,1":                            {},
	} {
		host, port, err := parsePASV(text)
		if (address{host, port}) != want || (err == nil) != (want.port > 0) {
			t.Errorf("%q: %q, %d, %v", text, host, port, err)
		}
	}
}

func TestParseStatLine(t *testing.T) {
	for line, want := range map[string]Info{
		" -rw- 10 1795440597000 a.txt":    {Name: "a.txt", Size: 10, Mode: 0o644, Access: 6, ModTime: time.Unix(1795440597, 0)},
		" dr-x 4096 1795440597000 s b ":   {Name: "s b ", Size: 4096, Mode: fs.ModeDir | 0o555, Access: 5, ModTime: time.Unix(1795440597, 0)},
		" ---- 6 -1000 x":                 {Name: "x", Size: 6, ModTime: time.Unix(-1, 0)},
		" drwx 0 0  lead":                 {Name: " lead", Mode: fs.ModeDir | 0o755, Access: 7, ModTime: time.Unix(0, 0)},
		"-rw- 10 1795440597000 a.txt":     {},
		" lrw- 10 1795440597000 a.txt":    {},
		" -rw- -10 1795440597000 a.txt":   {},
		" -rw- 10 1795440597000 ":         {},
		" -rw- 10 1795440597000":          {},
		" -wr- 10 1795440597000 a":        {},
		" -rw-x 10 1795440597000 a":       {},
		" -rw- 99999999999999999999 10 a": {},
		"":                                {},
	} {
		got, ok := parseStatLine(line)
		if ok != (want.Name != "") {
			t.Errorf("%q: ok is %v", line, ok)
		}
		if d := cmp.Diff(want, got); ok && d != "" {
			t.Errorf("%q: %s", line, d)
		}
	}
}

func TestParseFacts(t *testing.T) {
	when := time.Date(2026, 11, 23, 13, 29, 57, 0, time.UTC)
	for line, want := range map[string]facts{
		"size=10;modify=20261123132957;type=file;perm=rw;UNIX.mode=100644; a.txt": {name: "a.txt", mode: 0o644, hasMode: true, local: when},
		"unix.MODE=41777;Modify=20261123132957;what=ever; a; b = c ":              {name: "a; b = c ", mode: fs.ModeDir | fs.ModeSticky | 0o777, hasMode: true, local: when},
		"size=10;modify=20261123132957;type=file;perm=rw; old":                    {name: "old", local: when},
		"size=10;modify=now;type=file;UNIX.mode=9; x":                             {name: "x"},
		"UNIX.mode=10644; fifo":                                                   {name: "fifo", mode: fs.ModeNamedPipe | 0o644, hasMode: true},
		"UNIX.mode=20644; tty":                                                    {name: "tty", mode: fs.ModeDevice | fs.ModeCharDevice | 0o644, hasMode: true},
		"UNIX.mode=106755; suid":                                                  {name: "suid", mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, hasMode: true},
		"no facts":                                                                {},
		" just a name":                                                            {},
		"a=b;":                                                                    {},
		"a=b; ":                                                                   {},
		"":                                                                        {},
	} {
		got, ok := parseFacts(line)
		if ok != (want.name != "") || ok && got != want {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
	for m := range uint32(0o10000) {
		if got := unixPerm(modeFromUnix(m | 0o100000)); got != m {
			t.Fatalf("%o becomes %o", m, got)
		}
	}
}

func TestListing(t *testing.T) {
	var l listing
	for _, line := range []string{
		"odd", " -rw- 1 0 a", " -rw- 1 0 new", "line", "more", "", " -rw- 1 0 b", " drwx 1 0 a/b", " -rw- 1 0 cr\r", " -rw- 1 0 last", "x",
	} {
		if err := l.add(line); err != nil {
			t.Fatal(err)
		}
	}
	got, missing := l.join(map[string]facts{"a": {mode: 0o600, hasMode: true}, "other": {}})
	want := []Info{{Name: "a", Size: 1, Mode: 0o600, Access: 6, ModTime: time.Unix(0, 0)}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"b"}, missing); d != "" {
		t.Error(d)
	}
	l.bytes = maxListing
	if err := l.add("x"); !errors.Is(err, ErrProtocol) {
		t.Errorf("endless listing: %v", err)
	}
}

func TestParseHashAndAvailable(t *testing.T) {
	for text, want := range map[string]string{
		"MD5 0-9 781e5e245d69b566979b86e28d23f2c7 /srv/a b": "781e5e245d69b566979b86e28d23f2c7",
		"MD5 0-9 781E5E245D69B566979B86E28D23F2C7 /x":       "781e5e245d69b566979b86e28d23f2c7",
		"MD5 0-9 781e5e /x": "",
		"MD5 0-9":           "",
		"":                  "",
		"MD5 0-9 zze5e245d69b566979b86e28d23f2c7 /x": "",
	} {
		if _, got, err := parseHash(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]int64{
		"OK 42 bytes available for reading.":                   42,
		"OK -3 bytes available for reading.":                   -3,
		"OK 99999999999999999999 bytes available for reading.": -1 << 63,
	} {
		if got, ok := parseAvailable(text); got != want || !ok {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"OK", "", "Opening BINARY mode", "OK x bytes"} {
		if got, ok := parseAvailable(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
	if hasInclusiveRanges([]string{" RANG STREAM", " REST STREAMMFMT"}) || !hasInclusiveRanges([]string{" MFF x;RFC_RANGKEEP-ALIVE"}) {
		t.Error("RFC_RANG misread")
	}
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"": ".", ".": ".", "/": ".", "./": ".", "a": "a", "/a//b/./c/": "a/b/c", " ": "./ /.", "a ": "a /.", " a": "./ a",
		"-a": "./-a", "a/ b": "a/ b", "a/b\t": "a/b\t/.", "\u00a0a": "./\u00a0a", "a\x1c": "a\x1c/.", "\ufeff": "\ufeff", "...": "...",
	} {
		clean, err := cleanPath(path)
		if got := wirePath(clean); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"..", "a/..", "../a", "a\nb", "a\rb", "\x00", "\xff", strings.Repeat("x", maxPath+1)} {
		if _, err := cleanPath(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
	for dir, want := range map[string]string{".": ".", "a": "..", "a/b": "../.."} {
		if got := climb(dir); got != want {
			t.Errorf("from %q: %q", dir, got)
		}
	}
}

// TestControlReadsLines shows that the library never sees a byte beyond a line.
func TestControlReadsLines(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	var trips atomic.Int64
	c := newControl(client, time.Minute, &trips)
	go func() {
		_, _ = io.WriteString(server, "220 hello\r\n331 one\r\n230 two\r\n211-x\r\n y\r\r\n211 end\r\n")
	}()
	buf := make([]byte, 100)
	if n, err := c.Read(buf); string(buf[:n]) != "220 hello\r\n" || err != nil || c.code != "220" || !c.crlf {
		t.Errorf("first: %q, %v, code %q, CRLF %v", buf[:n], err, c.code, c.crlf)
	}
	if n, _ := c.Read(buf[:4]); string(buf[:n]) != "331 " || c.code != "331" {
		t.Errorf("part: %q, %q", buf[:n], c.code)
	}
	if n, _ := c.Read(buf); string(buf[:n]) != "one\r\n" || c.code != "331" {
		t.Errorf("rest: %q, %q", buf[:n], c.code)
	}
	if r, err := c.readReply(); err != nil || r.code != 230 || r.text != "two" {
		t.Errorf("ours: %+v, %v", r, err)
	}
	if r, err := c.readReply(); err != nil || len(r.body) != 1 || r.body[0] != " y\r" || r.last != "end" {
		t.Errorf("lines: %+v, %v", r, err)
	}
}

// TestControlBoundsTheLibrary has a server that never ends its reply.
func TestControlBoundsTheLibrary(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	c := newControl(client, time.Minute, new(atomic.Int64))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(server, "211-"+strings.Repeat("x", 4000)+"\n"); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
	if n > maxLibraryBytes || !errors.Is(err, ErrProtocol) {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = server.Close()
	<-done
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"200 OK", "211-x", "500 Error processing command 'X': [Errno 13] y", "229 (|||1|)", "227 (1,2,3,4,5,6)", "100 (\n,0,1)", "150 OK 5 bytes", "213 MD5 0-9 ab /x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, _, err := parseReplyLine(line)
		if err != nil {
			return
		}
		if r.code < 100 || r.code > 599 {
			t.Errorf("code %d", r.code)
		}
		if e := r.want(2); e != nil && (r.code/100 == 2 || r.code >= 400 != isRefusal(e)) {
			t.Errorf("%d: %v", r.code, e)
		}
		if p, err := parseEPSV(r.text); err == nil && (p < 1 || p > 65535) {
			t.Errorf("port %d", p)
		}
		if h, p, err := parsePASV(r.text); err == nil && (p < 1 || p > 65535 || h == "" || strings.ContainsAny(h, "/ []\n")) {
			t.Errorf("address %q %d", h, p)
		}
		if algo, sum, err := parseHash(r.text); err == nil && (strings.Contains(algo, " ") || sum != strings.ToLower(sum)) {
			t.Errorf("hash %q %q", algo, sum)
		}
		parseAvailable(r.text)
		hasInclusiveRanges([]string{r.text})
		_ = wrapError("x", "y", refuse(r.code, r.text)).Error()
	})
}

func FuzzListing(f *testing.F) {
	f.Add(" -rw- 10 1795440597000 a.txt\nsize=10;modify=20261123132957;type=file;perm=rw;UNIX.mode=100644; a.txt")
	f.Add(" drwx 1 1 x\ny\n -rwx 1 1 y\nUNIX.mode=40755; x")
	f.Fuzz(func(t *testing.T, text string) {
		var l listing
		modes := make(map[string]facts)
		for line := range strings.SplitSeq(text, "\n") {
			if i, ok := parseStatLine(line); ok && (i.Name == "" || i.Size < 0 || i.Access > 7 || !strings.HasSuffix(line, i.Name)) {
				t.Errorf("%q: %+v", line, i)
			}
			if fc, ok := parseFacts(line); ok {
				modes[fc.name] = fc
				if !strings.HasSuffix(line, fc.name) {
					t.Errorf("%q: %+v", line, fc)
				}
			}
			if err := l.add(line); err != nil {
				t.Fatal(err)
			}
		}
		entries, missing := l.join(modes)
		if len(entries)+len(missing) > len(l.entries) {
			t.Error("more entries than lines")
		}
		for _, e := range entries {
			if !addressable(e.Name) {
				t.Errorf("name %q", e.Name)
			}
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add([]byte("220 x\r\n331 y\n211-a\n b\n211 c\n"))
	f.Add([]byte("211-a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		client, server := net.Pipe()
		defer client.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = server.Write(data)
			_ = server.Close()
		}()
		c := newControl(client, time.Minute, new(atomic.Int64))
		for {
			r, err := c.readReply()
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrUnavailable) {
					t.Errorf("error %v", err)
				}
				break
			}
			if strings.Contains(r.text, "\n") {
				t.Errorf("reply %+v", r)
			}
		}
		_ = client.Close()
		<-done
	})
}

// FuzzPath shows that a path survives what the server does to a line: strip it,
// split it, strip the path, join it to the directory and normalise it.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"a", " a ", "a/b ", "-x", "\u2003", "a\x1c", ". ", " ..", "...", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		clean, err := cleanPath(path)
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("error %v", err)
			}
			return
		}
		line := strings.TrimFunc("STAT F "+wirePath(clean), isBlank)
		if strings.ContainsAny(line, "\r\n\x00") || !utf8.ValidString(line) {
			t.Fatalf("line %q", line)
		}
		_, params, _ := strings.Cut(line, " ")
		_, arg, _ := strings.Cut(params, " ")
		arg = strings.TrimFunc(arg, isBlank)
		again, err := cleanPath(arg)
		if err != nil || again != clean {
			t.Errorf("%q arrives as %q, %v", clean, again, err)
		}
	})
}
