package uftptest

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// UFTPD is written in Python, and many of its replies are the texts of Python
// exceptions. This file has the few rules of that language which clients see.

// A replyError is a failure that UFTPD reports with a code of its own.
type replyError struct {
	code      int
	text      string
	closeData bool // and close the data connection
}

func (e *replyError) Error() string { return e.text }

// fail is the failure of a command with a reply code other than 500.
func fail(code int, format string, args ...any) error {
	return &replyError{code: code, text: fmt.Sprintf(format, args...)}
}

// raise is an exception, which becomes a 500 with the same text.
func raise(format string, args ...any) error {
	return &replyError{code: 500, text: fmt.Sprintf(format, args...)}
}

// noAttribute is what the use of an argument or of a data connection that is
// not there raises.
func noAttribute(name string) error {
	return raise("'NoneType' object has no attribute '%s'", name)
}

// osError gives err the text of Python's OSError, with the paths the failed
// call was about.
func osError(err error, paths ...string) error {
	if err == nil {
		return nil
	}
	var b strings.Builder
	b.WriteString(errnoText(err))
	for i, p := range paths {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString(" -> ")
		}
		b.WriteString(pyRepr(p))
	}
	return raise("%s", b.String())
}

// errnoText is "[Errno 2] No such file or directory": what str() makes of an
// OSError. Errors that are none keep their own text.
func errnoText(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return fmt.Sprintf("[Errno %d] %s", int(errno), strerror(errno))
	case errors.Is(err, io.ErrClosedPipe):
		return errnoText(syscall.EPIPE)
	case errors.Is(err, net.ErrClosed): // by a fault
		return errnoText(syscall.ECONNRESET)
	}
	return err.Error()
}

// strerror is the C library's text; Go's has a small first letter.
func strerror(errno syscall.Errno) string {
	text := errno.Error()
	if r, n := utf8.DecodeRuneInString(text); unicode.IsLower(r) {
		return string(unicode.ToUpper(r)) + text[n:]
	}
	return text
}

// pyRepr is repr() of a string.
func pyRepr(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1: // how Python carries such bytes around
			fmt.Fprintf(&b, `\udc%02x`, s[i])
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	b.WriteByte(quote)
	return b.String()
}

// pyList is str() of a list of strings.
func pyList(list []string) string {
	reprs := make([]string, len(list))
	for i, s := range list {
		reprs[i] = pyRepr(s)
	}
	return "[" + strings.Join(reprs, ", ") + "]"
}

// pyBool is str() of a truth value.
func pyBool(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

// isTrue is how UFTPD reads a switch.
func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "1":
		return true
	}
	return false
}

// pySpace is what str.strip() takes for white space.
func pySpace(r rune) bool {
	return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
}

func pyStrip(s string) string { return strings.TrimFunc(s, pySpace) }

// maxDigits is the length beyond which Python's int() refuses decimal numbers.
const maxDigits = 4300

// pyInt is int(s, base) for bases 8 and 10: of any size, with a sign, blanks
// around it and single underscores between digits.
func pyInt(s string, base int) (*big.Int, error) {
	invalid := func() (*big.Int, error) {
		return nil, raise("invalid literal for int() with base %d: %s", base, pyRepr(s))
	}
	digits := pyStrip(s)
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	if base == 8 && len(digits) > 2 && strings.EqualFold(digits[:2], "0o") {
		digits = strings.TrimPrefix(digits[2:], "_")
	}
	if digits == "" || digits[0] == '_' || digits[len(digits)-1] == '_' || strings.Contains(digits, "__") {
		return invalid()
	}
	digits = strings.ReplaceAll(digits, "_", "")
	for _, c := range []byte(digits) {
		if c < '0' || int(c-'0') >= base {
			return invalid()
		}
	}
	if base == 10 && len(digits) > maxDigits {
		return nil, raise("Exceeds the limit (%d digits) for integer string conversion: value has %d digits; "+
			"use sys.set_int_max_str_digits() to increase the limit", maxDigits, len(digits))
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return invalid()
	}
	if negative {
		n.Neg(n)
	}
	return n, nil
}

// unpack2 is "a, b = fields": exactly two, or the exception.
func unpack2(fields []string) (a, b string, err error) {
	switch {
	case len(fields) > 2:
		return "", "", raise("too many values to unpack (expected 2)")
	case len(fields) < 2:
		return "", "", raise("not enough values to unpack (expected 2, got %d)", len(fields))
	}
	return fields[0], fields[1], nil
}

var errNUL = raise("embedded null byte")

// checkPath refuses what cannot be given to the operating system at all.
func checkPath(path string) error {
	if strings.IndexByte(path, 0) >= 0 {
		return errNUL
	}
	return nil
}

// timeFormat is strptime's "%Y%m%d%H%M%S" as the regular expression Python makes of it.
var timeFormat = regexp.MustCompile(`^(\d\d\d\d)(1[0-2]|0[1-9]|[1-9])(3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9])` +
	`(2[0-3]|[0-1]\d|\d)([0-5]\d|\d)(6[0-1]|[0-5]\d|\d)`)

// parseTime is mktime(strptime(s, "%Y%m%d%H%M%S")) in the zone loc.
func parseTime(s string, loc *time.Location) (time.Time, error) {
	m := timeFormat.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, raise("time data %s does not match format '%%Y%%m%%d%%H%%M%%S'", pyRepr(s))
	}
	if rest := s[len(m[0]):]; rest != "" {
		return time.Time{}, raise("unconverted data remains: %s", rest)
	}
	var f [6]int
	for i := range f {
		f[i], _ = strconv.Atoi(strings.TrimSpace(m[i+1])) // digits, says the expression
	}
	if f[0] == 0 {
		return time.Time{}, raise("year 0 is out of range")
	}
	if f[2] > time.Date(f[0], time.Month(f[1])+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return time.Time{}, raise("day is out of range for month")
	}
	return time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, loc), nil
}

// fnmatch is Python's: "*" matches "/" too.
func fnmatch(name, pattern string) bool {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(pattern); {
		c, n := utf8.DecodeRuneInString(pattern[i:])
		i += n
		switch c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			class, rest := fnmatchClass(pattern[i:])
			b.WriteString(class)
			i = len(pattern) - len(rest)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteByte('$')
	re, err := regexp.Compile(b.String())
	return err == nil && re.MatchString(name)
}

// fnmatchClass translates what follows a "[": the class and what is left, or
// a plain bracket when there is no end to it.
func fnmatchClass(p string) (class, rest string) {
	end := 0
	if strings.HasPrefix(p, "!") {
		end++
	}
	if strings.HasPrefix(p[end:], "]") {
		end++
	}
	n := strings.IndexByte(p[end:], ']')
	if n < 0 {
		return `\[`, p
	}
	body, rest := p[:end+n], p[end+n+1:]
	negated := strings.HasPrefix(body, "!")
	body = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(strings.TrimPrefix(body, "!"))
	if negated {
		return "[^" + body + "]", rest
	}
	return "[" + body + "]", rest
}
