package uftptest

import (
	"fmt"
	"os"
	"path"
	"syscall"
	"time"
	"unicode/utf8"
)

// halfYear is the age beyond which LIST shows the year and not the hour.
const halfYear = 15811200 * time.Second

const noSuchFile = "Directory/file does not exist or cannot be accessed!"

// statLine is a line of STAT: zone-free, but without the mode.
func (f file) statLine() string {
	letter := "-"
	if f.stat.IsDir() {
		letter = "d"
	}
	return fmt.Sprintf("%s%s %d %d %s", letter, f.permissions("rwx", "-"),
		f.stat.Size(), 1000*f.seconds(), f.name())
}

// factLine is a line of MLST and MLSD: with the mode, in local time.
func (f file) factLine(loc *time.Location) string {
	kind, perm := "file", f.permissions("rwx", "")
	if f.stat.IsDir() {
		kind, perm = "dir", f.permissions("lwe", "")
	}
	return fmt.Sprintf("size=%d;modify=%s;type=%s;perm=%s;UNIX.mode=%o; %s",
		f.stat.Size(), f.modTime(loc).Format("20060102150405"), kind, perm, f.rawMode(), f.name())
}

// listLine is a line of LIST, in the style of ls.
func (f file) listLine(loc *time.Location) string {
	letter, links := "-", "1"
	if f.stat.IsDir() {
		letter, links = "d", "3"
	}
	t := f.modTime(loc)
	layout := "Jan 02 15:04"
	if t.Before(time.Now().Add(-halfYear)) {
		layout = "Jan 02 2006"
	}
	return fmt.Sprintf("%s%s------   %s dummy dummy %d %s %s\r", letter, f.permissions("rwx", "-"),
		links, f.stat.Size(), t.Format(layout), f.name())
}

// rawMode is st_mode with its type bits.
func (f file) rawMode() uint32 {
	if st, ok := f.stat.Sys().(*syscall.Stat_t); ok {
		return st.Mode
	}
	return uint32(f.stat.Mode().Perm())
}

// readNames lists a directory in the order of the file system.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir) //nolint:gosec // serving what it is asked for is its job
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

// entries are the files of a directory that can be looked at and named: no
// dangling links, no names that are not UTF-8.
func entries(dir string, names []string) []file {
	files := make([]file, 0, len(names))
	for _, name := range names {
		if !utf8.ValidString(name) {
			continue
		}
		if f, err := statFile(path.Join(dir, name)); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// stat answers over the control connection: "F PATH" the path itself, "N PATH"
// the directory's entries, and everything else the current directory.
func (s *session) stat(arg argument) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	kind, p := splitOnce(arg.text, ".")
	p, err := s.abs(p)
	if err != nil {
		return err
	}
	f, err := statFile(p)
	if err != nil {
		return raise(noSuchFile)
	}
	files := []file{f}
	if kind == "N" && f.stat.IsDir() {
		names, err := readNames(p)
		if err != nil {
			return osError(err, p)
		}
		files = entries(p, names)
	}
	lines := make([]string, 0, len(files)+2)
	lines = append(lines, "211- Sending file list")
	for _, f := range files {
		lines = append(lines, " "+f.statLine())
	}
	return s.replies(append(lines, "211 End of file list"))
}

// splitOnce cuts text at the first blank. What is missing is replaced by rest.
func splitOnce(text, rest string) (first, second string) {
	for i := range len(text) {
		if text[i] == ' ' {
			return text[:i], text[i+1:]
		}
	}
	return text, rest
}

// mlst closes the data connection when there is nothing to describe.
func (s *session) mlst(arg argument) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	text := arg.text
	if !arg.given {
		text = "."
	}
	p, err := s.abs(text)
	if err != nil {
		return err
	}
	f, err := statFile(p)
	if err != nil {
		return &replyError{code: 550, text: noSuchFile, closeData: true}
	}
	return s.replies([]string{"250- Listing " + p, " " + f.factLine(s.eng.cfg.Location), "250 End"})
}

func (s *session) list(arg argument) error {
	p := arg.or(".")
	if p == "-a" {
		p = "."
	}
	return s.listing(p, file.listLine)
}

func (s *session) mlsd(arg argument) error { return s.listing(arg.or("."), file.factLine) }

// listing sends a directory over the data connection, if there is a plain one
// of one stream; to others, and to none, it sends nothing, and is content.
func (s *session) listing(p string, format func(file, *time.Location) string) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	p, err := s.abs(p)
	if err != nil {
		return err
	}
	if f, err := statFile(p); err != nil || !f.stat.IsDir() {
		return &replyError{code: 550, text: "Directory does not exist.", closeData: true}
	}
	names, err := readNames(p)
	if err != nil {
		return &replyError{code: 550, text: fmt.Sprintf("500 Error listing <%s>: %s", p, osError(err, p)), closeData: true}
	}
	if err := s.ctrl.reply("150 OK"); err != nil {
		return err
	}
	if plain, ok := s.data.(*dataConn); ok {
		if err := s.sendListing(plain, entries(p, names), format); err != nil {
			return err
		}
	}
	s.resetRange()
	if err := s.ctrl.reply("226 File transfer successful"); err != nil {
		return err
	}
	s.closeData()
	return nil
}

// sendListing sends a line for each file. A client that has gone away is no
// failure of the listing; a fault may be.
func (s *session) sendListing(c *dataConn, files []file, format func(file, *time.Location) string) error {
	sent := int64(0)
	for _, f := range files {
		if stop, err := s.faultDue(sent); stop || err != nil {
			return err
		}
		line := format(f, s.eng.cfg.Location) + "\n"
		if c.write([]byte(line)) != nil {
			return nil //nolint:nilerr // as said above
		}
		sent += int64(len(line))
	}
	return nil
}

// size is broken in the real one: it says so after all its checks.
func (s *session) size(arg argument) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	p, err := s.resolve(arg)
	if err != nil {
		return err
	}
	f, err := statFile(p)
	switch {
	case err != nil:
		return fail(550, noSuchFile)
	case !s.eng.quirks.WorkingSIZE:
		return raise("Connector.write_message() got an unexpected keyword argument 'msg'")
	}
	return s.ctrl.reply("213 %d", f.stat.Size())
}
