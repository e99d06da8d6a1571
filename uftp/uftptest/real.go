package uftptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Environment variables of StartReal.
const (
	// EnvUFTPD names a checkout of UFTPD, github.com/UNICORE-EU/uftpd.
	EnvUFTPD = "UFTPD_DIR"
	// EnvPython names the Python to run it with; default /usr/bin/python3, else
	// the python3 on PATH.
	EnvPython = "UFTPD_PYTHON"
)

// maxLogTail bounds how much of the log a failed test shows, in bytes.
const maxLogTail = 64 << 10

// StartReal is [NewReal] for a test: the server is closed when the test ends. It
// skips the test, and says why, where that server cannot run. If the test fails,
// it shows the end of the server's log.
func StartReal(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = tb.TempDir()
	}
	cfg.Verbose = true // for the end of the log
	work := tb.TempDir()
	s, err := NewReal(tb.Context(), cfg, work)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("end of uftpd's log:\n%s", logTail(work))
		}
	})
	return s
}

// NewReal starts the real UFTPD from the checkout in $UFTPD_DIR, with the auth
// service of this package in front of it. The caller closes it. work is an empty
// directory for its log and other files. The error is [errors.ErrUnsupported]
// where that cannot be done: it takes Linux, Python, and root, as UFTPD changes
// to the Unix user of each session. ctx is for the start alone.
//
// That user exists in a mount namespace of the server alone; the machine's own
// files stay as they are. The served directory and what is in it are given to
// the first of cfg.Users, and directories above it that only their owner may
// enter are opened, if they are below [os.TempDir]. Quirks, Instances, Confine,
// Listen and the port of ControlListen mean nothing here.
func NewReal(ctx context.Context, cfg Config, work string) (*Server, error) {
	checkout, python, err := findReal(ctx)
	if err != nil {
		return nil, err
	}
	if work, err = filepath.Abs(work); err != nil {
		return nil, err
	}
	cfg.CommandPort = "" // it is ours to choose
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	d, err := startDaemon(ctx, daemonConfig{Config: cfg, checkout: checkout, python: python, work: work})
	if err != nil {
		return nil, fmt.Errorf("start uftpd: %w\n%s", err, logTail(work))
	}
	s := &Server{cfg: cfg, backends: []backend{d}}
	err = s.start()
	if err == nil {
		err = openPath(cfg.Dir)
	}
	if err == nil {
		err = s.giveAway()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// findReal finds what the real server needs, or says what is missing.
func findReal(ctx context.Context) (checkout, python string, err error) {
	missing := func(format string, args ...any) error {
		return fmt.Errorf(format+" (%w)", append(args, errors.ErrUnsupported)...)
	}
	checkout = os.Getenv(EnvUFTPD)
	switch {
	case checkout == "":
		return "", "", missing("%s is not set to a checkout of UFTPD", EnvUFTPD)
	case runtime.GOOS != "linux":
		return "", "", missing("the real UFTPD needs Linux here")
	case os.Geteuid() != 0:
		return "", "", missing("the real UFTPD needs root, to change to the users of its sessions")
	}
	if _, err := os.Stat(filepath.Join(checkout, "lib", "UFTPD.py")); err != nil { //nolint:gosec // the caller's own choice
		// Set and wrong is a mistake, not an absence.
		return "", "", fmt.Errorf("%s: %w", EnvUFTPD, err)
	}
	for _, tool := range []string{"sh", "unshare", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", "", missing("the real UFTPD needs %s: %v", tool, err)
		}
	}
	if python, err = findPython(); err != nil {
		return "", "", missing("the real UFTPD needs Python: %v", err)
	}
	// A container may be root and still not allowed to.
	if out, err := exec.CommandContext(ctx, "unshare", "-m", "--propagation", "private", "true").CombinedOutput(); err != nil {
		return "", "", missing("the real UFTPD needs a mount namespace: %v: %s", err, out)
	}
	return checkout, python, nil
}

// findPython prefers the system's Python, which has the system's crypto module
// and which every user may execute.
func findPython() (string, error) {
	if p := os.Getenv(EnvPython); p != "" {
		return exec.LookPath(p)
	}
	if p, err := exec.LookPath("/usr/bin/python3"); err == nil {
		return p, nil
	}
	return exec.LookPath("python3")
}

// openPath lets other users go through to dir, as far as the directories are
// temporary ones: Go makes those for their owner alone.
func openPath(dir string) error {
	tmp := filepath.Clean(os.TempDir())
	for d := dir; d != "/"; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err != nil {
			return err
		}
		if fi.Mode()&0o001 != 0 {
			continue
		}
		if d != dir && (d == tmp || !strings.HasPrefix(d, tmp+"/")) {
			return fmt.Errorf("%s cannot be entered by other users, so the real UFTPD cannot serve %s", d, dir)
		}
		if err := os.Chmod(d, fi.Mode().Perm()|0o011); err != nil {
			return err
		}
	}
	return nil
}

// Chown gives the served directory, and everything in it, to the Unix user of
// the first of the server's users. Tests that wrote there themselves call it;
// it does nothing unless the server is a real one.
func (s *Server) Chown(tb testing.TB) {
	tb.Helper()
	if err := s.giveAway(); err != nil {
		tb.Fatal(err)
	}
}

// giveAway is Chown.
func (s *Server) giveAway() error {
	d := s.daemon()
	if d == nil {
		return nil
	}
	return filepath.WalkDir(s.cfg.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, d.accounts[0].id, d.accounts[0].id) //nolint:gosec // a test's own directory
	})
}

// WriteFile makes a file in the served directory, and the directories above it,
// as the server's user would have. The name is relative and has '/'.
func (s *Server) WriteFile(tb testing.TB, name string, data []byte) {
	tb.Helper()
	path := filepath.Join(s.cfg.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as the user's umask would have it
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // as the user's umask would have it
		tb.Fatal(err)
	}
	d := s.daemon()
	for p := path; d != nil && p != s.cfg.Dir; p = filepath.Dir(p) {
		if err := os.Lchown(p, d.accounts[0].id, d.accounts[0].id); err != nil {
			tb.Fatal(err)
		}
	}
}

// Real reports whether the file server is a real UFTPD.
func (s *Server) Real() bool { return s.engine == nil }

// daemon is the real UFTPD that this process started, or nil.
func (s *Server) daemon() *daemon {
	d, _ := s.backends[0].(*daemon)
	return d
}

// logTail is the end of the log in a daemon's working directory.
func logTail(work string) string {
	f, err := os.Open(filepath.Join(work, logName)) //nolint:gosec // a name of ours
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err == nil && fi.Size() > maxLogTail {
		if _, err := f.Seek(-maxLogTail, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// pollUntil calls done every few milliseconds until it is true or the time is up.
func pollUntil(limit time.Duration, done func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-deadline.C:
			return done()
		case <-tick.C:
		}
	}
}
