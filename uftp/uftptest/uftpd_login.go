package uftptest

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const protocolError = "500 Protocol error"

// login greets the client, takes its one-time password and prepares the
// session. It returns nil when the connection is to be closed.
func (s *session) login() *login {
	reg := s.handshake()
	if reg == nil {
		return nil
	}
	if len(reg.clientIPs) == 0 || !slices.Contains(reg.clientIPs, s.peer) {
		_ = s.ctrl.reply("500 Error establishing connection: Rejecting connection for '%s' from %s, allowed: %s",
			reg.user, s.peer, pyList(reg.clientIPs))
		return nil
	}
	l, refusal := s.eng.secrets.login(reg)
	if l == nil {
		_ = s.ctrl.reply("%s", refusal)
		return nil
	}
	s.reg = reg
	if reason := s.eng.quirks.refusal(s, reg); reason != "" {
		_ = s.ctrl.reply("530 Not logged in: %s", reason)
		s.eng.secrets.end(l)
		return nil
	}
	// The base directory is looked at after the 230: the client of a wrong one
	// sees a login, and then the end of the connection.
	if s.ctrl.reply("230 Login successful") != nil || s.begin(reg) != nil {
		s.eng.secrets.end(l)
		return nil
	}
	return l
}

// refusal is the reason not to let a session begin, "" if there is none.
func (q Quirks) refusal(s *session, reg *registration) string {
	if !q.RefuseBase {
		return ""
	}
	if err := s.begin(reg); err != nil {
		return err.Error()
	}
	return ""
}

// handshake talks until the one-time password has come, and returns the job it
// stands for, or nil after telling the client why not.
func (s *session) handshake() *registration {
	if s.ctrl.reply("220 UFTPD %s, https://www.unicore.eu", s.eng.quirks.Version) != nil {
		return nil
	}
	for asked := false; ; asked = true {
		line, err := s.ctrl.readLine()
		if err != nil {
			return nil
		}
		switch verb := strings.ToUpper(line); {
		case strings.HasPrefix(verb, "USER"):
			return s.password(line)
		case !strings.HasPrefix(verb, "SYST"):
			_ = s.ctrl.reply(protocolError)
			return nil
		case asked: // SYST, once more
			_ = s.ctrl.reply("500 Error establishing connection: list.remove(x): x not in list")
			return nil
		}
		if s.ctrl.reply(systemReply) != nil {
			return nil
		}
	}
}

// password takes the password after the user name in line.
func (s *session) password(line string) *registration {
	secret := ""
	if line == "USER anonymous" {
		if s.ctrl.reply("331 Please specify the password") != nil {
			return nil
		}
		answer, err := s.ctrl.readLine()
		if err != nil {
			_ = s.ctrl.reply("500 Error establishing connection: %s", err)
			return nil
		}
		if s.struck(FaultLogin) {
			return nil
		}
		if verb, rest, ok := strings.Cut(answer, " "); ok && (verb == "USER" || verb == "PASS") && rest != "anonymous" {
			secret = rest
		}
	}
	if secret == "" {
		_ = s.ctrl.reply(protocolError)
		return nil
	}
	reg := s.eng.secrets.find(secret)
	if reg == nil {
		_ = s.ctrl.reply("530 Not logged in: no matching transfer request found")
	}
	return reg
}

// begin sets the session up for a job: base directory, limits, options.
func (s *session) begin(reg *registration) error {
	s.home = s.eng.cfg.Dir
	if !isDir(s.home) {
		s.home = "/"
	}
	if dir := dirname(reg.base); dir == "" {
		s.base, s.cwd = "/", s.home
	} else {
		if !path.IsAbs(dir) {
			dir = s.home + "/" + dir
		}
		s.base = path.Clean(dir)
		s.cwd = s.base
	}
	if s.eng.cfg.Confine {
		if s.base == "/" {
			s.base = s.cwd
		}
		if !s.eng.serves(s.base) {
			return fail(550, "No such directory: %s", s.cwd)
		}
	}
	if !isDir(s.cwd) {
		return fail(550, "No such directory: %s", s.cwd)
	}
	if err := s.chdir(s.base); err != nil {
		return err
	}
	s.access = parseAccess(reg.access)
	s.resetRange()
	var err error
	if s.options, err = newOptions(reg.job, s.eng.cfg.MaxStreams); err != nil {
		return err
	}
	s.excludes = []string{s.home + "/.ssh/authorized_keys"}
	if err := s.patterns(&s.excludes, reg.excludes); err != nil {
		return err
	}
	s.includes = nil
	return s.patterns(&s.includes, reg.includes)
}

// patterns adds the ":"-separated patterns of list, made absolute.
func (s *session) patterns(to *[]string, list string) error {
	for p := range strings.SplitSeq(list, ":") {
		if p == "" {
			continue
		}
		abs, err := s.abs(p)
		if err != nil {
			return err
		}
		*to = append(*to, abs)
	}
	return nil
}

// dirname is what comes before the last slash, without trailing slashes unless
// it is nothing but slashes.
func dirname(p string) string {
	head := p[:strings.LastIndexByte(p, '/')+1]
	if trimmed := strings.TrimRight(head, "/"); trimmed != "" {
		return trimmed
	}
	return head
}

func isDir(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.IsDir()
}

// chdir changes the directory that CDUP starts from and PWD shows.
func (s *session) chdir(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if err := enterable(p); err != nil {
		return osError(err, p)
	}
	physical, err := filepath.EvalSymlinks(p)
	if err != nil {
		return osError(err, p)
	}
	s.physical = physical
	return nil
}

// getcwd is the working directory, which may have been removed.
func (s *session) getcwd() (string, error) {
	if _, err := os.Lstat(s.physical); err != nil {
		return "", osError(err)
	}
	return s.physical, nil
}
