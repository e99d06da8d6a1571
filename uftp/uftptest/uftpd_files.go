package uftptest

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// permit checks the access level.
func (s *session) permit(level accessLevel) error {
	if s.access < level {
		return fail(534, "Access denied")
	}
	return nil
}

// abs makes a path absolute and normal, both textually, and refuses it unless
// its text starts with the base directory's: no separator is asked for, and
// links are not looked at.
func (s *session) abs(p string) (string, error) {
	p = pyStrip(p)
	if !path.IsAbs(p) {
		p = s.cwd + "/" + p
	}
	p = path.Clean(p)
	if !strings.HasPrefix(p, s.base) || !s.eng.serves(p) {
		return "", fail(534, "Forbidden: %s not in %s", p, s.base)
	}
	return p, nil
}

// serves reports whether clients may know of the clean path p.
func (e *engine) serves(p string) bool {
	dir := strings.TrimSuffix(e.cfg.Dir, "/")
	return !e.cfg.Confine || p == dir || strings.HasPrefix(p, dir+"/")
}

// resolve is abs for a command's argument.
func (s *session) resolve(arg argument) (string, error) {
	text, err := arg.need("strip")
	if err != nil {
		return "", err
	}
	return s.abs(text)
}

// allowed checks a path against the patterns of the session.
func (s *session) allowed(p string) error {
	for _, pattern := range s.excludes {
		if fnmatch(p, pattern) {
			return fail(534, "Forbidden: %s excluded via %s", p, pyList(s.excludes))
		}
	}
	if len(s.includes) == 0 {
		return nil
	}
	for _, pattern := range s.includes {
		if fnmatch(p, pattern) {
			return nil
		}
	}
	return fail(534, "Forbidden: %s not included in  %s", p, pyList(s.includes))
}

// path does the checks that most commands with a path begin with.
func (s *session) path(level accessLevel, arg argument) (string, error) {
	if err := s.permit(level); err != nil {
		return "", err
	}
	p, err := s.resolve(arg)
	if err != nil {
		return "", err
	}
	return p, s.allowed(p)
}

func (s *session) pwd(argument) error {
	if err := s.permit(accessInfo); err != nil {
		return err
	}
	dir, err := s.getcwd()
	if err != nil {
		return err
	}
	return s.ctrl.reply(`257 "%s"`, dir)
}

func (s *session) changeDir(arg argument) error {
	p, err := s.path(accessInfo, arg)
	if err != nil {
		return err
	}
	if err := checkPath(p); err != nil {
		return err
	}
	if err := s.chdir(p); err != nil {
		return fail(550, "Can't cwd to directory: %s", err)
	}
	s.cwd = p
	return s.done()
}

// changeUp goes to the parent of the physical directory, wherever that is.
func (s *session) changeUp(argument) error {
	if s.cwd == s.base {
		return fail(534, "Can't cd up, already at base directory")
	}
	if err := enterable(s.physical + "/.."); err != nil {
		return raise("Can't cd up: %s", osError(err, ".."))
	}
	s.physical = filepath.Dir(s.physical)
	s.cwd = s.physical
	return s.ctrl.reply("200 OK")
}

// enterable is the error of a chdir to p, which is not done.
func enterable(p string) error {
	fi, err := os.Stat(p)
	switch {
	case err != nil:
		return err
	case !fi.IsDir():
		return syscall.ENOTDIR
	}
	return unix.Access(p, unix.X_OK)
}

func (s *session) mkdir(arg argument) error {
	if err := s.permit(accessWrite); err != nil {
		return err
	}
	p, err := s.resolve(arg)
	if err != nil {
		return err
	}
	if err := checkPath(p); err != nil {
		return err
	}
	if err := syscall.Mkdir(p, 0o777); err != nil {
		return osError(err, p)
	}
	return s.ctrl.reply(`257 "%s" directory created`, p)
}

func (s *session) remove(arg argument) error { return s.delete(arg, syscall.Unlink) }

func (s *session) rmdir(arg argument) error { return s.delete(arg, syscall.Rmdir) }

func (s *session) delete(arg argument, call func(string) error) error {
	p, err := s.path(accessFull, arg)
	if err != nil {
		return err
	}
	if err := checkPath(p); err != nil {
		return err
	}
	if err := call(p); err != nil {
		return osError(err, p)
	}
	return s.done()
}

func (s *session) rename(arg argument) error {
	p, err := s.path(accessWrite, arg)
	if err != nil {
		return err
	}
	s.renameFrom, s.haveFrom = p, true
	return s.ctrl.reply("350 File action OK Please send rename-to")
}

// renameTo keeps the source's name: a second RNTO would move it again.
func (s *session) renameTo(arg argument) error {
	p, err := s.path(accessWrite, arg)
	if err != nil {
		return err
	}
	if !s.haveFrom {
		return raise("'Session' object has no attribute 'rename_from_path'")
	}
	for _, name := range []string{s.renameFrom, p} {
		if err := checkPath(name); err != nil {
			return err
		}
	}
	if err := syscall.Rename(s.renameFrom, p); err != nil {
		return osError(err, s.renameFrom, p)
	}
	return s.done()
}

// factArgument splits "FACTS PATH" as UFTPD does: a path with a blank is one
// word too many.
func (s *session) factArgument(arg argument) (facts, target, p string, err error) {
	if err = s.permit(accessWrite); err != nil {
		return
	}
	text, err := arg.need("split")
	if err != nil {
		return
	}
	facts, target, err = unpack2(strings.SplitN(text, " ", 3))
	if err != nil {
		return
	}
	if p, err = s.abs(target); err != nil {
		return
	}
	return facts, target, p, s.allowed(p)
}

func (s *session) mfmt(arg argument) error {
	facts, target, p, err := s.factArgument(arg)
	if err != nil {
		return err
	}
	if err := s.setModTime(p, facts); err != nil {
		return err
	}
	return s.ctrl.reply("213 Modify=%s; %s", facts, target)
}

func (s *session) mff(arg argument) error {
	facts, target, p, err := s.factArgument(arg)
	if err != nil {
		return err
	}
	var set []string
	for fact := range strings.SplitSeq(facts, ";") {
		if fact == "" {
			continue
		}
		key, value, err := unpack2(strings.Split(fact, "="))
		if err != nil {
			return err
		}
		switch strings.ToLower(key) {
		case "modify":
			err = s.setModTime(p, value)
		case "unix.mode":
			err = setMode(p, value)
		default:
			err = raise("Not supported: '%s'", key)
		}
		if err != nil {
			return err
		}
		set = append(set, fact)
	}
	return s.ctrl.reply("213 %s; %s", strings.Join(set, ";"), target)
}

// setModTime sets the modification time, and the access time with it, from the
// server's local time.
func (s *session) setModTime(p, value string) error {
	t, err := parseTime(value, s.eng.cfg.Location)
	if err != nil {
		return err
	}
	if err := checkPath(p); err != nil {
		return err
	}
	return osError(touch(p, unix.NsecToTimespec(t.UnixNano())))
}

// touch sets both times of a file.
func touch(p string, t unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{t, t}, 0)
}

func setMode(p, value string) error {
	mode, err := pyInt(value, 8)
	if err != nil {
		return err
	}
	if err := checkPath(p); err != nil {
		return err
	}
	if !mode.IsInt64() || mode.Int64() != int64(int32(mode.Int64())) { //nolint:gosec // that is the test
		return raise("Python int too large to convert to C int")
	}
	if err := syscall.Chmod(p, uint32(int32(mode.Int64()))); err != nil { //nolint:gosec // just checked
		return osError(err, p)
	}
	return nil
}

// A file is what UFTPD knows about a path: the answers of stat(2), with links
// followed.
type file struct {
	path string
	stat os.FileInfo
}

func statFile(p string) (file, error) {
	if err := checkPath(p); err != nil {
		return file{}, err
	}
	fi, err := os.Stat(p)
	return file{p, fi}, err
}

// name is the base name, and "/" for the root.
func (f file) name() string { return path.Base(f.path) }

// seconds is the modification time as Python's float makes it.
func (f file) seconds() int64 {
	t := f.stat.ModTime()
	return int64(float64(t.Unix()) + 1e-9*float64(t.Nanosecond()))
}

func (f file) modTime(loc *time.Location) time.Time { return time.Unix(f.seconds(), 0).In(loc) }

func (f file) can(mode uint32) bool { return unix.Access(f.path, mode) == nil }

// permissions are the three letters, for what access(2) allows of reading,
// writing and executing, and empty for what not.
func (f file) permissions(letters, empty string) string {
	var b strings.Builder
	for i, mode := range []uint32{unix.R_OK, unix.W_OK, unix.X_OK} {
		if f.can(mode) {
			b.WriteByte(letters[i])
		} else {
			b.WriteString(empty)
		}
	}
	return b.String()
}
