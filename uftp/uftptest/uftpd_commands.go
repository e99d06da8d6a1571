package uftptest

import (
	"math/big"
	"slices"
	"strings"
)

const systemReply = "215 Unix Type: L8"

// A handler executes a command. What it returns is told to the client.
type handler func(*session, argument) error

// handlers are the commands by verb.
var handlers = map[string]handler{ //nolint:gochecknoglobals // a table
	"BYE":            (*session).quit,
	"QUIT":           (*session).quit,
	"SYST":           (*session).syst,
	"FEAT":           (*session).feat,
	"NOOP":           (*session).noop,
	"PWD":            (*session).pwd,
	"CWD":            (*session).changeDir,
	"CDUP":           (*session).changeUp,
	"MKD":            (*session).mkdir,
	"DELE":           (*session).remove,
	"RNFR":           (*session).rename,
	"RNTO":           (*session).renameTo,
	"RMD":            (*session).rmdir,
	"PASV":           (*session).pasv,
	"EPSV":           (*session).epsv,
	"LIST":           (*session).list,
	"STAT":           (*session).stat,
	"MLST":           (*session).mlst,
	"MLSD":           (*session).mlsd,
	"SIZE":           (*session).size,
	"RANG":           (*session).rang,
	"REST":           (*session).rest,
	"RETR":           (*session).retr,
	"ALLO":           (*session).allo,
	"STOR":           (*session).stor,
	"APPE":           (*session).appe,
	"MFMT":           (*session).mfmt,
	"MFF":            (*session).mff,
	"TYPE":           (*session).setType,
	"KEEP-ALIVE":     (*session).setKeepAlive,
	"OPTS":           (*session).opts,
	"HASH":           (*session).hash,
	"SYNC-TO-CLIENT": (*session).syncToClient,
	"SYNC-TO-SERVER": (*session).syncToServer,
	"SEND-FILE":      (*session).sendFile,
	"RECEIVE-FILE":   (*session).receiveFile,
	"RCP-STATUS":     (*session).rcpControl,
	"RCP-ABORT":      (*session).rcpControl,
}

func (e *engine) disabled(verb string) bool {
	return len(e.quirks.Disabled) > 0 && slices.Contains(e.quirks.Disabled, verb)
}

func (s *session) quit(argument) error {
	if s.eng.quirks.StandardCodes {
		_ = s.ctrl.reply("221 Goodbye")
	}
	s.closeData()
	return errEndSession
}

func (s *session) syst(argument) error { return s.ctrl.reply(systemReply) }

func (s *session) feat(argument) error {
	lines := []string{"211-Features:"}
	for _, f := range s.features() {
		lines = append(lines, " "+f)
	}
	lines = append(lines, "211 END")
	return s.replies(lines)
}

// features are the lines of FEAT. Two pairs of them are fused in the real one.
func (s *session) features() []string {
	q := s.eng.quirks
	list := []string{"PASV", "EPSV", "RANG STREAM", "REST STREAMMFMT", "MLSD", "MLST", "APPE",
		"MFF Modify;UNIX.mode;KEEP-ALIVE", "ARCHIVE", "UTF-8"}
	if q.CleanFEAT {
		list = []string{"PASV", "EPSV", "RANG STREAM", "REST STREAM", "MFMT", "MLSD", "MLST", "APPE",
			"MFF Modify;UNIX.mode;", "KEEP-ALIVE", "ARCHIVE", "UTF-8"}
	}
	if q.UTF8 {
		list[len(list)-1] = "UTF8"
	}
	if q.InclusiveRange {
		list = append(list, "RFC_RANG")
	}
	if s.options.encrypted() {
		list = append(list, "CRYPTED-"+s.options.algo)
	}
	return append(list, "HASH "+s.options.hashList())
}

// replies sends several lines, each on its own.
func (s *session) replies(lines []string) error {
	for _, line := range lines {
		if err := s.ctrl.reply("%s", line); err != nil {
			return err
		}
	}
	return nil
}

// noop sets the number of streams if its argument is one.
func (s *session) noop(arg argument) error {
	n, err := pyInt(arg.text, 10)
	if !arg.given || err != nil {
		return s.ctrl.reply("200 OK")
	}
	code := 222
	if n.Cmp(big.NewInt(int64(s.options.maxStreams))) > 0 {
		code = 223
	}
	s.options.setStreams(int(clamp(n)))
	return s.ctrl.reply("%d Opening %d data connections", code, s.options.streams)
}

func (s *session) setType(arg argument) error {
	text, err := arg.need("strip")
	if err != nil {
		return err
	}
	switch pyStrip(text) {
	case "ARCHIVE":
		s.options.archive = true
	case "NORMAL":
		s.options.archive = false
	}
	return s.ctrl.reply("200 OK")
}

func (s *session) setKeepAlive(arg argument) error {
	text, err := arg.need("lower")
	if err != nil {
		return err
	}
	s.options.keepAlive = isTrue(text)
	return s.ctrl.reply("200 OK")
}

func (s *session) opts(arg argument) error {
	text, err := arg.need("split")
	if err != nil {
		return err
	}
	words := strings.SplitN(text, " ", 3)
	name := strings.ToUpper(words[0])
	if len(words) > 1 {
		if err := s.options.set(name, words[1]); err != nil {
			return err
		}
		return s.ctrl.reply("200 %s=%s", name, words[1])
	}
	lines := []string{"211-OPTS"}
	for _, o := range s.options.list() {
		lines = append(lines, " "+o)
	}
	return s.replies(append(lines, "211 END"))
}
