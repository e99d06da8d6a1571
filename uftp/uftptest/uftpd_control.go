package uftptest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unicode/utf8"
)

// maxLine is the number of characters after which a command line is cut; the
// rest of it is the next command.
const maxLine = 8192

// errSocketClosed is the end of a control connection.
var errSocketClosed = errors.New("Socket closed") //nolint:staticcheck // UFTPD's own text, sent to clients

// A lineReader reads lines as a Python text stream does: LF, CR LF and CR end a
// line, a CR only once it is clear what follows it; a line is cut after maxLine
// characters; bytes that are no UTF-8 are an error as soon as they are read, even
// if there are good lines before them in the same packet.
type lineReader struct {
	src     io.Reader
	raw     [maxLine]byte
	partial []byte // the start of a character whose end has not come
	cr      bool   // a CR whose successor has not come
	text    []byte // decoded, not yet handed out
	scanned int    // bytes of text known to hold no line end
	err     error  // of src or of decoding
}

func newLineReader(src io.Reader) *lineReader { return &lineReader{src: src} }

// readLine returns the next line without white space around it.
func (r *lineReader) readLine() (string, error) {
	for {
		if n, ok := r.lineLength(); ok {
			line := pyStrip(string(r.text[:n]))
			r.text = r.text[n:]
			r.scanned = 0
			return line, nil
		}
		if r.err != nil {
			return "", r.err
		}
		r.fill()
	}
}

// lineLength returns the length in bytes of the first line of r.text, and
// whether it is complete.
func (r *lineReader) lineLength() (int, bool) {
	for r.scanned < len(r.text) {
		r.scanned++
		if r.text[r.scanned-1] == '\n' {
			return cutLine(r.text[:r.scanned]), true
		}
	}
	if len(r.text) >= maxLine { // bytes; perhaps as many characters
		if n := cutLine(r.text); n < len(r.text) || utf8.RuneCount(r.text) == maxLine {
			return n, true
		}
	}
	return len(r.text), errors.Is(r.err, io.EOF) && len(r.text) > 0
}

// cutLine returns the length in bytes of the first maxLine characters of line.
func cutLine(line []byte) int {
	if len(line) <= maxLine {
		return len(line)
	}
	n := 0
	for range maxLine {
		if n == len(line) {
			break
		}
		_, size := utf8.DecodeRune(line[n:])
		n += size
	}
	return n
}

// fill decodes what one read gives.
func (r *lineReader) fill() {
	n, err := r.src.Read(r.raw[:])
	data := append(r.partial, r.raw[:n]...)
	r.partial = nil
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size == 1 {
			if err == nil && !utf8.FullRune(data[i:]) {
				r.partial = append([]byte(nil), data[i:]...)
				return
			}
			r.text, r.scanned = nil, 0 // a Python stream loses the whole chunk
			r.err = decodeError(data, i)
			return
		}
		r.decoded(data[i : i+size])
		i += size
	}
	if err == nil {
		return
	}
	r.err = err
	if errors.Is(err, io.EOF) {
		if r.cr {
			r.cr = false
			r.text = append(r.text, '\n')
		}
	}
}

// decoded appends one character to the text, with line ends made the same.
func (r *lineReader) decoded(c []byte) {
	if r.cr {
		r.cr = false
		r.text = append(r.text, '\n')
		if c[0] == '\n' {
			return
		}
	}
	if c[0] == '\r' {
		r.cr = true
		return
	}
	r.text = append(r.text, c...)
}

func decodeError(data []byte, i int) error {
	reason := "invalid start byte"
	switch {
	case !utf8.FullRune(data[i:]):
		reason = "unexpected end of data"
	case data[i] >= 0xc2 && data[i] <= 0xf4:
		reason = "invalid continuation byte"
	}
	return fmt.Errorf("'utf-8' codec can't decode byte 0x%02x in position %d: %s", data[i], i, reason)
}

// A control is a control connection.
type control struct {
	conn  net.Conn
	lines *lineReader
	eol   string
	buf   []byte

	// override takes the place of the next final reply line: nothing is sent if
	// it is empty.
	override *string
}

func newControl(conn net.Conn, q Quirks) *control {
	c := &control{conn: conn, lines: newLineReader(conn), eol: "\n"}
	if q.CRLF {
		c.eol = "\r\n"
	}
	if tcp, ok := conn.(interface{ SetNoDelay(bool) error }); ok {
		_ = tcp.SetNoDelay(q.NoDelay) // a connection that is already gone is noticed soon enough
	}
	keepAlive(conn)
	return c
}

// readLine returns the next command line, stripped.
func (c *control) readLine() (string, error) {
	line, err := c.lines.readLine()
	if errors.Is(err, io.EOF) {
		err = errSocketClosed
	}
	return line, err
}

// reply sends one line, in a packet of its own: with Nagle's algorithm on, it
// stays here until the client has acknowledged the one before.
func (c *control) reply(format string, args ...any) error {
	line := format
	if len(args) > 0 {
		line = fmt.Sprintf(format, args...)
	}
	if c.override != nil && isFinal(line) {
		line, c.override = *c.override, nil
		if line == "" {
			return nil
		}
	}
	c.buf = append(append(c.buf[:0], line...), c.eol...)
	_, err := c.conn.Write(c.buf)
	return err
}

// isFinal reports whether line ends the reply to a command: not "150 ...", not
// "211-..." and not " ...".
func isFinal(line string) bool {
	return len(line) > 3 && line[0] >= '2' && line[0] <= '5' && line[3] == ' '
}

// keepAlive makes the kernel drop a peer that cannot be reached for 8 s.
func keepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3})
	}
}

// shutdown ends both directions of a connection but keeps it: reads then see
// the end, writes EPIPE.
func shutdown(conn net.Conn) {
	if c, ok := conn.(interface{ CloseRead() error }); ok {
		_ = c.CloseRead()
	}
	closeWrite(conn)
}

// closeWrite sends the end of data.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		return
	}
	_ = conn.Close()
}

// reset drops a connection so that the client sees ECONNRESET.
func reset(conn net.Conn) {
	switch c := conn.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0)
		_ = c.Close()
	case *shapedConn:
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.abort()
	default:
		_ = conn.Close()
	}
}
