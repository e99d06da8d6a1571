package uftptest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// Whatever a client sends, in whatever pieces, lines come out, or an error.
func FuzzLineReader(f *testing.F) {
	for _, seed := range []string{
		"NOOP\r\nPWD\nSYST\r", "\r\r\n\n", "MKD d\xc3\xbc\r\n", "\xff\n", "a\xe2\x28\xa1\n", "NOOP", "",
		strings.Repeat("x", maxLine) + "\n", strings.Repeat("é", maxLine+1) + "\n", strings.Repeat("x", maxLine-1) + "\r\nNOOP\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, wholeErr := allLines(bytes.NewReader(data))
		pieces, piecesErr := allLines(iotest.OneByteReader(bytes.NewReader(data)))
		for _, line := range append(whole, pieces...) {
			if !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") || utf8.RuneCountInString(line) > maxLine {
				t.Errorf("bad line %q", line)
			}
		}
		if !utf8.Valid(data) {
			if wholeErr == nil || piecesErr == nil {
				t.Errorf("no error: %v, %v", wholeErr, piecesErr)
			}
			return
		}
		if wholeErr != nil || piecesErr != nil {
			t.Errorf("errors: %v, %v", wholeErr, piecesErr)
		}
		if strings.Join(whole, "\n") != strings.Join(pieces, "\n") {
			t.Errorf("%q in one piece, %q in many", whole, pieces)
		}
	})
}

// allLines reads all lines. The end is no error.
func allLines(r io.Reader) ([]string, error) {
	lr := newLineReader(r)
	var lines []string
	for {
		line, err := lr.readLine()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
}

// Commands of all kinds get well-formed replies, and end when the client goes.
// Those that would reach out of the process are switched off.
func FuzzCommands(f *testing.F) {
	for _, seed := range []string{
		"NOOP 3\r\nSTAT N .\r\nMLST f\r\nSIZE f\r\n", "RANG 1 99999999999999999999\r\nHASH f\r\n",
		"CWD d\r\nPWD\r\nCDUP\r\nMFMT 20200101000000 f\r\n", "MFF UNIX.mode=0o7;Modify=20200101000000; f\r\n",
		"OPTS HASH SHA-1\r\nOPTS BUFFER_SIZE 1_0\r\nOPTS\r\nHASH f\r\n", "STOR f\r\nALLO 0\r\nSTOR f\r\nAPPE f\r\n",
		"TYPE ARCHIVE\r\nSTOR d\r\nRETR f\r\nLIST\r\nMLSD d\r\nREST -1\r\nRETR f\r\n", "RNFR f\r\nRNTO ./x y/.\r\n", "MKD \x00\r\n",
	} {
		f.Add([]byte(seed))
	}
	s := Start(f, Config{Quirks: Quirks{Disabled: []string{"EPSV", "PASV", "SEND-FILE", "RECEIVE-FILE"}}})
	base := s.Dir() + "/base/"
	f.Fuzz(func(t *testing.T, data []byte) {
		s.WriteFile(t, "base/f", []byte("0123456789"))
		s.WriteFile(t, "base/d/g", nil)
		client, server := net.Pipe()
		_ = client.SetDeadline(time.Now().Add(20 * time.Second))
		ses := newSession(s.engine, server)
		if err := ses.begin(&registration{job: job{base: base}}); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer ses.finish()
			ses.run()
		}()
		go func() {
			_, _ = client.Write(data)
			_, _ = client.Write([]byte("\r\nBYE\r\n"))
		}()
		out, err := io.ReadAll(client)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
			t.Errorf("unfinished reply %q", out)
		}
	})
}

// A group of frames is read, or refused; memory follows what comes.
func FuzzFrames(f *testing.F) {
	valid := frame{frameMagic, 0, 0, 3, 3}.append(nil)
	f.Add(append(valid, "abc"...), 16384)
	f.Add(frame{frameMagic, 0, 0, 1 << 31, 1 << 31}.append(nil), 1)
	f.Add(frame{frameMagic, 1, 0, 3, 3}.append(nil), 10)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > defaultBuffer {
			return
		}
		for _, streams := range []int{1, 2, 3} {
			p := &parallel{}
			for range streams {
				st := &bytesStream{r: bytes.NewReader(data)}
				p.parts = append(p.parts, partStream{read: st.read})
			}
			for range 10 {
				got, err := p.read(n)
				if err != nil || len(got) == 0 {
					break
				}
				if len(got) > n+len(data)*streams {
					t.Fatalf("%d bytes from %d", len(got), len(data))
				}
			}
		}
	})
}

// bytesStream is a stream of fixed contents.
type bytesStream struct {
	r   *bytes.Reader
	out bytes.Buffer
}

func (s *bytesStream) read(n int) ([]byte, error) { return io.ReadAll(io.LimitReader(s.r, int64(n))) }
func (s *bytesStream) write(p []byte) error       { s.out.Write(p); return nil }
func (s *bytesStream) close()                     {}

// What is compressed and encrypted comes back, however it is read; what is not
// does not do harm.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("hello"), 3)
	f.Add(bytes.Repeat([]byte("x"), 5000), 1024)
	f.Add([]byte{0x1f, 0x8b, 8, 0}, 16)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n <= 0 || n > defaultBuffer {
			return
		}
		drain(newCompressed(&bytesStream{r: bytes.NewReader(data)}), n)
		enc, err := newCrypted(&bytesStream{r: bytes.NewReader(data)}, pattern(56), "BLOWFISH")
		if err != nil {
			t.Fatal(err)
		}
		drain(enc, n)

		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data)
		_ = z.Close()
		got := drain(newCompressed(&bytesStream{r: bytes.NewReader(b.Bytes())}), n)
		if !bytes.Equal(got, data) {
			t.Errorf("%q came back as %q", data, got)
		}
	})
}

func drain(s stream, n int) []byte {
	var all []byte
	for {
		data, err := s.read(n)
		if err != nil || len(data) == 0 {
			return all
		}
		all = append(all, data...)
	}
}

// The texts of clients that are parsed by rules of Python's.
func FuzzPython(f *testing.F) {
	for _, seed := range []string{"12", " -1_0 ", "0o17", "99999999999999999999", "20200102030405", "2020010203045", "a*[!b-c]?", "[", "'a b' \"c\\\"\" d\\ e", "\u0660"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, base := range []int{8, 10} {
			if n, err := pyInt(a, base); err == nil {
				again, err := pyInt(n.Text(base), base)
				if err != nil || n.Cmp(again) != 0 {
					t.Errorf("pyInt(%q): %v, then %v %v", a, n, again, err)
				}
			}
		}
		if tm, err := parseTime(a, time.UTC); err == nil && (tm.Year() < 1 || tm.Year() > 10000) {
			t.Errorf("parseTime(%q) = %v", a, tm)
		}
		fnmatch(a, b)
		if !fnmatch(a, "*") {
			t.Errorf("%q does not match *", a)
		}
		if r := pyRepr(a); !utf8.ValidString(r) || strings.ContainsAny(r, "\r\n\x00") {
			t.Errorf("pyRepr(%q) = %q", a, r)
		}
		shellWords(a)
		clamp(new(big.Int).SetBytes([]byte(a)))
	})
}
