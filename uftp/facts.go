package uftp

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// localLayout is how MLST, MLSD and MFMT write times: the server's local time.
const localLayout = "20060102150405"

// parseStatLine parses a line of a STAT reply:
//
//	" -rw- 10 1795440597000 a.txt"
//
// It has no permission bits beyond what the user may do; Mode holds a guess
// made from these until the "UNIX.mode" fact is known.
func parseStatLine(line string) (Info, bool) {
	rest, ok := strings.CutPrefix(line, " ")
	if !ok || len(rest) < 5 || rest[4] != ' ' || rest[0] != 'd' && rest[0] != '-' {
		return Info{}, false
	}
	var i Info
	for k, want := range []byte("rwx") {
		switch rest[1+k] {
		case want:
			i.Access |= 4 >> k
		case '-':
		default:
			return Info{}, false
		}
	}
	dir := rest[0] == 'd'
	size, rest, ok1 := strings.Cut(rest[5:], " ")
	msec, name, ok2 := strings.Cut(rest, " ")
	n, err1 := strconv.ParseInt(size, 10, 64)
	ms, err2 := strconv.ParseInt(msec, 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || n < 0 || name == "" {
		return Info{}, false
	}
	i.Name, i.Size, i.ModTime = name, n, time.UnixMilli(ms)
	i.Mode = guessMode(dir, i.Access)
	return i, true
}

// guessMode makes permission bits of what the user may do.
func guessMode(dir bool, access uint8) fs.FileMode {
	m := fs.FileMode(access) << 6
	m |= m >> 3 & 0o050
	m |= m >> 3 & 0o005
	if dir {
		m |= fs.ModeDir
	}
	return m
}

// facts is what we need of an MLST or MLSD line.
type facts struct {
	name    string
	mode    fs.FileMode
	hasMode bool
	local   time.Time // "modify", as if the server's zone were UTC; zero if absent
}

// parseFacts parses a line of MLST (without its leading blank) or MLSD:
//
//	"size=10;modify=20261123132957;type=file;perm=rw;UNIX.mode=100644; a.txt"
//
// Facts may come in any order, unknown ones are skipped.
func parseFacts(line string) (facts, bool) {
	list, name, ok := strings.Cut(line, " ")
	if !ok || name == "" || !strings.HasSuffix(list, ";") {
		return facts{}, false
	}
	f := facts{name: name}
	for fact := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		key, value, _ := strings.Cut(fact, "=")
		switch strings.ToLower(key) {
		case "modify":
			if t, err := time.Parse(localLayout, value); err == nil {
				f.local = t
			}
		case "unix.mode":
			if m, err := strconv.ParseUint(value, 8, 32); err == nil {
				f.mode, f.hasMode = modeFromUnix(uint32(m)), true
			}
		}
	}
	return f, true
}

// modeFromUnix translates Linux's st_mode.
func modeFromUnix(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o040000:
		mode |= fs.ModeDir
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	case 0o060000:
		mode |= fs.ModeDevice
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// unixPerm is the permission part of modeFromUnix, backwards.
func unixPerm(mode fs.FileMode) uint32 {
	m := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		m |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		m |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	return m
}

// withFacts completes what STAT said with what MLST or MLSD said. The type is
// STAT's where the two disagree or the mode has none.
func (i Info) withFacts(f facts) Info {
	if f.hasMode && f.mode.IsDir() == i.IsDir() {
		i.Mode = f.mode
	}
	return i
}

// listing collects the lines of STAT N. Names with a newline in them come as
// two lines and cannot be addressed: both are dropped.
type listing struct {
	entries []Info
	whole   bool // the last line was an entry
	bytes   int
	told    func(entries int) // if not nil, called at each
}

// maxListing bounds the bytes of one listing.
const maxListing = 1 << 28

func (l *listing) add(line string) error {
	if l.bytes += len(line); l.bytes > maxListing {
		return fmt.Errorf("%w: listing larger than %d bytes", ErrProtocol, maxListing)
	}
	i, ok := parseStatLine(line)
	switch {
	case ok:
		l.entries = append(l.entries, i)
		if l.told != nil {
			l.told(len(l.entries))
		}
	case l.whole:
		// The rest of a name with a newline: its first line was no name.
		l.entries = l.entries[:len(l.entries)-1]
	}
	l.whole = ok
	return nil
}

// addressable reports whether a name of a listing can be used in a command.
func addressable(name string) bool {
	return name != "." && name != ".." && utf8.ValidString(name) && !strings.ContainsAny(name, "/\r\x00")
}

// join completes the entries with modes, made of MLSD's lines. It returns the
// names that are missing there: gone meanwhile, or no names at all.
func (l *listing) join(modes map[string]facts) (entries []Info, missing []string) {
	entries = make([]Info, 0, len(l.entries))
	for _, i := range l.entries {
		if !addressable(i.Name) {
			continue
		}
		f, ok := modes[i.Name]
		if !ok {
			missing = append(missing, i.Name)
			continue
		}
		delete(modes, i.Name)
		entries = append(entries, i.withFacts(f))
	}
	return entries, missing
}

// parseHash parses "SHA-256 10-99 d46257368f... /srv/data/rnd".
func parseHash(text string) (algo, sum string, err error) {
	f := strings.SplitN(text, " ", 4)
	if len(f) == 4 && len(f[2]) >= 32 && len(f[2])%2 == 0 && strings.Trim(f[2], "0123456789abcdefABCDEF") == "" {
		return f[0], strings.ToLower(f[2]), nil
	}
	return "", "", fmt.Errorf("%w: not a hash reply: %.200q", ErrProtocol, text)
}

// parseAvailable finds n in "OK n bytes available for reading."; ok is false if
// the server does not say.
func parseAvailable(text string) (n int64, ok bool) {
	rest, found := strings.CutPrefix(text, "OK ")
	num, _, found2 := strings.Cut(rest, " ")
	if !found || !found2 {
		return 0, false
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil && strings.Trim(num, "-0123456789") == "" {
		n = math.MinInt64 // a number, and not the one we asked for
		err = nil
	}
	return n, err == nil
}

// hasInclusiveRanges looks for the feature that says that the end of a RANG is
// part of it. uftpd fuses neighbouring entries, so look inside them.
func hasInclusiveRanges(feat []string) bool {
	for _, f := range feat {
		if strings.Contains(strings.ToUpper(f), "RFC_RANG") {
			return true
		}
	}
	return false
}
