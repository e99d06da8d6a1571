package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// termGrace is how long a worker that has little or nothing to upload may take
// to end when it is told to.
const termGrace = 5 * time.Second

// process is a worker and the connection to it.
type process struct {
	cmd    *exec.Cmd
	peer   *wire.Peer
	exited chan struct{} // closed when it has been waited for
}

// startProcess starts a worker. It gets a socket and nothing else: no argument
// but its hidden name, a minimal environment, its own session (a terminal's
// signals are not for it), and no way to gain privileges.
func startProcess(ctx context.Context, cfg Config, log *slog.Logger) (*process, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	conn, err := wire.FromFD(ours)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	defer func() { _ = null.Close() }()
	socket, err := theirs.Dup()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	socketFile := os.NewFile(uintptr(socket.Release()), "socket")
	defer func() { _ = socketFile.Close() }()

	cmd := &exec.Cmd{
		Path:       cfg.Command[0],
		Args:       cfg.Command,
		Env:        cfg.Env,
		Dir:        "/",
		Stdin:      null, // opened here: where the child starts, nothing can be opened for writing
		Stdout:     null,
		Stderr:     cfg.Stderr,
		ExtraFiles: []*os.File{null, socketFile}, // 3: nothing; 4: worker.SocketFD
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true,
		},
	}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: cfg.WorkerUID, Gid: cfg.WorkerGID}
	}
	rules, err := newRuleset(cfg.Writable)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	defer func() { _ = rules.Close() }()
	if err := startWithoutPrivileges(cmd, rules); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	p := &process{
		cmd:    cmd,
		peer:   wire.NewPeer(context.WithoutCancel(ctx), conn, wire.PeerConfig{}),
		exited: make(chan struct{}),
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // ProcessState has it all
		_ = p.peer.Close()
	}()
	go func() {
		<-p.peer.Done()
		if err := p.peer.Err(); errors.Is(err, wire.ErrMessage) {
			// No worker of ours does that.
			log.Error("worker breaks the protocol; killing it", "err", err)
			_ = cmd.Process.Kill()
		}
	}()
	return p, nil
}

// startWithoutPrivileges starts cmd so that neither it nor a descendant gains a
// privilege by executing a file. Such attributes belong to the thread that
// forks, so that thread is made for it and ends with it.
func startWithoutPrivileges(cmd *exec.Cmd, rules *wire.FD) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread does not end. While it waits here, another
			// goroutine runs on another thread.
			started <- startWithoutPrivileges(cmd, rules)
			runtime.UnlockOSThread()
			return
		}
		// Never unlocked: the thread ends with the goroutine.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
			return
		}
		if os.Geteuid() == 0 {
			dropBoundingSet()
		}
		if err := restrict(rules); err != nil {
			started <- err
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// dropBoundingSet empties the set of capabilities that this thread's children
// could ever have. Without CAP_SETPCAP that fails, and changing the user and
// no_new_privs do what matters.
func dropBoundingSet() {
	for c := uintptr(0); unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) == nil; c++ {
	}
}

// stop ends the worker and waits for that: it may take grace to end by itself,
// then it is told to, and killed if it has not ended term later. If ctx ends it
// is killed at once.
func (p *process) stop(ctx context.Context, grace, term time.Duration) {
	if p.wait(ctx, grace) {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if p.wait(ctx, term) {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *process) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// reason says how the worker ended. Call it after exited is closed.
func (p *process) reason() string { return p.cmd.ProcessState.String() }

// clean reports whether the worker ended with everything uploaded.
func (p *process) clean() bool { return p.cmd.ProcessState.Success() }

func (p *process) pid() int { return p.cmd.Process.Pid }

// explain adds the reason to the error of a call that a dying worker left
// unanswered. Its connection ends a moment before it can be waited for.
func (p *process) explain(ctx context.Context, err error) error {
	if !errors.Is(err, wire.ErrClosed) || !p.wait(context.WithoutCancel(ctx), time.Second) {
		return err
	}
	return fmt.Errorf("worker died: %s: %w", p.reason(), err)
}
