package uftptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	logName = "uftpd.log"

	daemonStartTimeout = 30 * time.Second
	daemonStopTimeout  = 10 * time.Second
)

// daemonConfig says what real UFTPD to start. Its Config has the defaults in.
type daemonConfig struct {
	Config
	checkout string // of UFTPD
	python   string // to run it
	work     string // directory for the log and other files, ours alone
}

// daemon is a real UFTPD that this process runs.
type daemon struct {
	*commandPortBackend
	cfg      daemonConfig
	accounts []account // one for each of cfg.Users
	shim     string    // directory to put on Python's path, or ""
	ftp      *reservedPort
	command  *reservedPort

	mu      sync.Mutex // held while processes are started or stopped
	closed  bool
	main    *process
	groups  []int // process groups of all main processes so far; their sessions may live on
	running sync.WaitGroup
}

// process is a running UFTPD main process, the leader of its process group.
type process struct {
	pid    int
	exited chan struct{} // closed when it has
}

// startDaemon starts a UFTPD and waits until it answers.
func startDaemon(ctx context.Context, cfg daemonConfig) (_ *daemon, err error) {
	d := &daemon{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.accounts, err = writeAccounts(cfg.work, cfg.Dir, cfg.Users); err != nil {
		return nil, err
	}
	if d.shim, err = cryptoShim(ctx, cfg.python, cfg.work); err != nil {
		return nil, err
	}
	if d.ftp, err = reservePort(); err != nil {
		return nil, err
	}
	if d.command, err = reservePort(); err != nil {
		return nil, err
	}
	d.commandPortBackend = newCommandPortBackend("127.0.0.1:" + strconv.Itoa(d.command.port))
	return d, d.launch(ctx)
}

// launch runs the main process and waits until it answers. The caller holds mu,
// or is alone.
func (d *daemon) launch(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(d.cfg.work, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Each word of the script that comes from us is an argument, so that no
	// path is ever read as shell. exec keeps the process id through all of it.
	// A copy of somebody's FUSE mount would keep it alive after he has unmounted it.
	const script = `umask 022; fuse=$(sed -n 's/.* - \(fuse\(\.[^ ]*\)\{0,1\}\) .*/\1/p' /proc/self/mountinfo | sort -u | paste -sd,)
		[ -z "$fuse" ] || umount --all --lazy --no-canonicalize --types "$fuse"
		mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && exec "$2" "$3"`
	// The process outlives ctx, which is that of the start alone.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "unshare", "-m", "--propagation", "private", //nolint:gosec // a test's own tools
		"sh", "-c", script, "sh", d.cfg.work, d.cfg.python, filepath.Join(d.cfg.checkout, "lib", "UFTPD.py"))
	cmd.Dir = d.cfg.work
	cmd.Env = d.environment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	exited := make(chan struct{})
	started := make(chan error, 1)
	d.running.Go(func() {
		// The parent whose death Pdeathsig is about is the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, as a rule
		}
	})
	if err := <-started; err != nil {
		return err
	}
	d.main = &process{cmd.Process.Pid, exited}
	d.groups = append(d.groups, cmd.Process.Pid)
	return d.awaitReady(ctx, exited)
}

// awaitReady waits for the answer to a ping. The FTP port listens before that.
func (d *daemon) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	err := errors.New("no answer")
	dead := false
	pollUntil(daemonStartTimeout, func() bool {
		select {
		case <-exited:
			dead = true
			return true
		default:
		}
		_, _, _, _, err = d.ping(ctx)
		return err == nil || ctx.Err() != nil
	})
	if dead {
		return errors.New("it ended at once")
	}
	return err
}

// environment is the configuration of UFTPD.
func (d *daemon) environment() []string {
	host, _, err := net.SplitHostPort(d.cfg.ControlListen)
	if err != nil {
		host = "127.0.0.1"
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C.UTF-8", // UFTPD decodes commands with the locale's encoding
		"PYTHONDONTWRITEBYTECODE=1",
		"PYTHONUNBUFFERED=1",
		"PYTHONPATH=" + d.shim,
		"SERVER_HOST=" + host, "SERVER_PORT=" + strconv.Itoa(d.ftp.port),
		"CMD_HOST=127.0.0.1", "CMD_PORT=" + strconv.Itoa(d.command.port),
		"DISABLE_IPv6=true",
		"MAX_CONNECTIONS=" + strconv.Itoa(d.cfg.MaxConnections),
		"MAX_STREAMS=" + strconv.Itoa(d.cfg.MaxStreams),
		"LOG_SYSLOG=false", "LOG_VERBOSE=" + strconv.FormatBool(d.cfg.Verbose),
	}
	if tz, ok := posixZone(d.cfg.Location); ok {
		env = append(env, "TZ="+tz)
	} else if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// posixZone is the TZ variable for a location, and false for the local one,
// which needs none that is not there already.
func posixZone(loc *time.Location) (string, bool) {
	if loc == time.Local {
		return "", false
	}
	if _, err := time.LoadLocation(loc.String()); err == nil {
		return loc.String(), true
	}
	// A fixed zone of any name. POSIX counts west of Greenwich.
	_, offset := time.Unix(0, 0).In(loc).Zone()
	sign := "-"
	if offset < 0 {
		sign, offset = "+", -offset
	}
	return fmt.Sprintf("<fixed>%s%d:%02d:%02d", sign, offset/3600, offset/60%60, offset%60), true
}

// cryptoShim makes Debian's name of pycryptodome, Cryptodome, known under the
// one that UFTPD imports, Crypto. Where Python knows that one, or neither,
// nothing is needed: UFTPD refuses encryption then.
func cryptoShim(ctx context.Context, python, work string) (string, error) {
	has := func(module string) bool {
		return exec.CommandContext(ctx, python, "-c", "import "+module+".Cipher").Run() == nil //nolint:gosec // a test's own tools
	}
	if has("Crypto") || !has("Cryptodome") {
		return "", nil
	}
	dir := filepath.Join(work, "shim")
	return dir, writeFiles(filepath.Join(dir, "Crypto"), map[string][]byte{
		"__init__.py": nil,
		"Cipher.py":   []byte("from Cryptodome.Cipher import AES, Blowfish\n"),
	})
}

// close kills the daemon with all its sessions, and waits until they are gone.
func (d *daemon) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.main != nil {
		d.main.stop()
	}
	err := d.killMembers()
	d.running.Wait()
	d.ftp.release()
	d.command.release()
	return err
}

// stop kills the process and waits until it has ended.
func (p *process) stop() {
	kill(p.pid)
	<-p.exited
}

var errDaemonClosed = errors.New("uftpd: closed")

// killSessions kills the session processes; each has a connection and no more.
func (d *daemon) killSessions() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errDaemonClosed
	}
	return d.killMembers()
}

// expireSecrets restarts the main process, at the same ports. Sessions are
// processes of their own, and stay.
func (d *daemon) expireSecrets() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errDaemonClosed
	}
	d.main.stop()
	ctx, cancel := context.WithTimeout(context.Background(), daemonStartTimeout)
	defer cancel()
	return d.launch(ctx)
}

// killMembers kills what is in the process groups, main process apart, and
// waits until it is gone.
func (d *daemon) killMembers() error {
	var left []int
	gone := pollUntil(daemonStopTimeout, func() bool {
		left = left[:0]
		for _, pid := range membersOf(d.groups) {
			if pid == d.main.pid && !isClosed(d.main.exited) {
				continue
			}
			kill(pid)
			left = append(left, pid)
		}
		return len(left) == 0
	})
	if !gone {
		return fmt.Errorf("uftpd: processes %v do not end", left)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// kill ends a process. That it has ended already is fine.
func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// membersOf are the living processes of some process groups.
func membersOf(groups []int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(groups) == 0 {
		return nil
	}
	var pids []int
	for _, name := range stats {
		text, err := os.ReadFile(name) //nolint:gosec // of /proc
		if err != nil {
			continue // it has just ended
		}
		// "pid (any name at all) state ppid pgrp ..."
		i := strings.LastIndexByte(string(text), ')')
		fields := strings.Fields(string(text[i+1:]))
		if i < 0 || len(fields) < 3 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		for _, g := range groups {
			if fields[2] != strconv.Itoa(g) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// soReusePort is SO_REUSEPORT, which package syscall lacks on some architectures.
const soReusePort = 0xf

// reservedPort is a TCP port of the loopback address that belongs to us while
// the real server, which sets SO_REUSEPORT as we do, listens there, or does not.
// A socket that does not listen gets no connections.
type reservedPort struct {
	fd, port int
}

func reservePort() (*reservedPort, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &reservedPort{fd: fd}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
		p.release()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		p.release()
		return nil, os.NewSyscallError("bind", err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		p.release()
		return nil, os.NewSyscallError("getsockname", err)
	}
	p.port = address.(*syscall.SockaddrInet4).Port //nolint:forcetypeassert // of an AF_INET socket
	return p, nil
}

func (p *reservedPort) release() {
	if p != nil {
		_ = syscall.Close(p.fd)
	}
}
