package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/uftp"
)

type mountFlags struct {
	remoteFlags
	server     string
	background bool
	logFile    string
	statsFile  string
	resume     bool // we are the background process: what to mount comes on stdin
}

func newMount(a *app) *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:   "mount URL DIR\n  csi-uftp mount uftpmount://…==DIR\n  csi-uftp mount --server HOST:PORT DIR",
		Short: "Mount a directory of a UFTP server",
		Long: `Mounts a directory of a UFTP server on DIR, an existing directory, and serves it
until it gets SIGINT (Ctrl-C) or SIGTERM, or until DIR is unmounted. What was
written is on the server when the program that wrote it has closed the file.

All of it belongs to the user who mounts it, unless --uid and --gid tell otherwise.

A uftpmount:// URL, as PyFilesystem has it, says both: …:/data==/mnt.

The URL's query may hold any of the flags below by its attribute name, as
?readOnly=true&cacheSize=1Gi.

With --server the authentication happens elsewhere (see "csi-uftp auth"), and the
one-time password is in $UFTP_PASSWORD. Such a mount cannot authenticate again: it
fails when the server has been away.`,
		Example: `  csi-uftp mount --user demo uftp://uftp.example.org:9000/rest/auth/TEST:/data /mnt
  csi-uftp mount --background --identity ~/.ssh/id_ed25519 --user demo uftp://uftp.example.org:9000/rest/auth/TEST: ~/home
  UFTP_PASSWORD=qwhxnbzlmvcotyeruapd csi-uftp mount --server uftp.example.org:64434 --read-only /mnt`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.resume:
				return exactArgs()(cmd, args)
			case f.server != "":
				return exactArgs("DIR")(cmd, args)
			case len(args) > 0 && strings.HasPrefix(args[0], mountScheme):
				_, err := splitMountURL(args)
				return err
			}
			return exactArgs("URL", "DIR")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.resume {
				return a.resumeMount(cmd.Context(), f.logFile)
			}
			args, err := splitMountURL(args)
			if err != nil {
				return err
			}
			job, err := a.mountJob(cmd.Context(), args, &f)
			if err != nil {
				return err
			}
			if f.background {
				return a.mountInBackground(cmd.Context(), job, f.logFile)
			}
			logger, err := a.logger(slog.LevelWarn)
			if err != nil {
				return err
			}
			return a.mount(cmd.Context(), job, logger, os.Stderr, func() {
				fmt.Fprintf(a.stderr, "csi-uftp: mounted on %s; Ctrl-C unmounts\n", job.Dir)
			})
		},
	}
	f.add(cmd.Flags(), func(at volume.Attribute) bool {
		switch at.Name {
		case "authURL", "path", "server", "secretName", "secretNamespace", "sharing":
			return false
		}
		return true
	})
	cmd.Flags().StringVar(&f.server, "server", "", "`HOST:PORT` of a UFTP server to log in to with the one-time password in $UFTP_PASSWORD")
	cmd.Flags().BoolVar(&f.background, "background", false, "return when it is mounted, and serve in the background; csi-uftp unmount ends it")
	cmd.Flags().StringVar(&f.logFile, "log-file", "", "`FILE` for messages of --background (default none)")
	cmd.Flags().StringVar(&f.statsFile, "stats-file", "", "`FILE` that gets what the mount has done so far, as JSON, on SIGUSR1 and when a signal ends it; not when it is unmounted")
	cmd.Flags().BoolVar(&f.resume, "resume", false, "")
	_ = cmd.Flags().MarkHidden("resume")
	_ = cmd.Flags().MarkHidden("preferences")
	return cmd
}

// mountJob is what to mount where. It goes to the background process over a pipe.
type mountJob struct {
	Spec      volume.Spec
	Dir       string
	Access    []byte // of uftp.MarshalAccess: secret
	TokenFile string // read again when it changes
	StatsFile string // gets counters on SIGUSR1 and at the end
}

func (a *app) mountJob(ctx context.Context, args []string, f *mountFlags) (mountJob, error) {
	dir, err := mountPoint(args[len(args)-1])
	if err != nil {
		return mountJob{}, err
	}
	// One that shows a mount that nobody serves any more is mounted on afresh.
	if info, err := os.Stat(dir); !errors.Is(err, syscall.ENOTCONN) && (err != nil || !info.IsDir()) {
		return mountJob{}, usageErrorf("%s is not a directory; make it first", dir)
	}
	job := mountJob{Dir: dir}
	if f.statsFile != "" {
		if job.StatsFile, err = filepath.Abs(f.statsFile); err != nil {
			return mountJob{}, err
		}
	}
	var t target
	if f.server != "" {
		t, err = a.oneTimeTarget(f)
	} else {
		t, err = a.resolve(args[0], &f.remoteFlags)
	}
	if err != nil {
		return mountJob{}, err
	}
	if t.preferences != "" {
		return mountJob{}, usageErrorf("--preferences is not for mounts")
	}
	if file, ok := t.access.Credential.(uftp.TokenFile); ok {
		if job.TokenFile, err = filepath.Abs(file.Path); err != nil {
			return mountJob{}, err
		}
	}
	job.Spec = t.spec
	job.Access, err = sealable(ctx, t.access)
	return job, err
}

// ownSpec is what a person's mount begins with: what it shows is that person's, for
// the kernel goes by owner and mode.
func ownSpec() volume.Spec {
	s := volume.Default()
	s.UID, s.GID = uint32(os.Geteuid()), uint32(os.Getegid()) //nolint:gosec // ids are not negative on Linux
	return s
}

// oneTimeTarget is what --server names.
func (a *app) oneTimeTarget(f *mountFlags) (target, error) {
	if _, _, err := net.SplitHostPort(f.server); err != nil {
		return target{}, usageErrorf("--server=%s: must be HOST:PORT", f.server)
	}
	password, ok := os.LookupEnv(envPassword)
	if !ok || password == "" {
		return target{}, usageErrorf("--server needs the one-time password in %s; csi-uftp auth prints one", envPassword)
	}
	t := target{spec: ownSpec()}
	if err := f.attributes.apply(&t.spec); err != nil {
		return target{}, err
	}
	t.spec.Server = f.server
	t.access.Credential = uftp.UsernamePassword{Username: "anonymous", Password: uftp.Secret(password)}
	return t, t.spec.Validate()
}

// sealable marshals the access for another process, which sees neither our
// environment nor our files: a token that lies there is read now.
func sealable(ctx context.Context, access uftp.Access) ([]byte, error) {
	switch access.Credential.(type) {
	case uftp.SSHAgent:
		return nil, usageErrorf("a mount outlives what an SSH agent signs; give --identity")
	case uftp.TokenFile, uftp.TokenEnv, uftp.OIDCAgent:
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://localhost/", nil)
		if err != nil {
			return nil, err
		}
		if err := access.Credential.Authorize(ctx, req); err != nil {
			return nil, err
		}
		token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		access.Credential = uftp.BearerToken{Token: uftp.Secret(token)}
	}
	return uftp.MarshalAccess(access)
}

const (
	// mountID is the volume's name: there is one in this process.
	mountID = "mount"
	// tokenEvery is how often a token's file is looked at.
	tokenEvery = 30 * time.Second
)

// mount serves job until ctx ends or the directory is unmounted, and unmounts.
// ready is called when the mount works.
func (a *app) mount(ctx context.Context, job mountJob, logger *slog.Logger, workerLog *os.File, ready func()) (err error) {
	access, err := uftp.UnmarshalAccess(job.Access)
	if err != nil {
		return err
	}
	cfg := keeper.Config{Logger: logger, Command: workerCommand(a, slog.LevelWarn), Stderr: workerLog}
	if dir := job.Spec.CacheDir; dir != "" {
		if err := makeCacheDir(dir); err != nil {
			return err
		}
		cfg.Writable = []string{dir}
	}
	k, err := keeper.New(cfg)
	if err != nil {
		return err
	}
	cleanup := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, k.Close(cleanup)) }()
	m, err := mounter.New(mounter.Config{
		Direct: true, Logger: logger,
		Connect: func(ctx context.Context) (*keeper.Client, error) { return keeper.NewLocal(ctx, k) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	publication := volume.Publication{VolumeID: mountID, Target: job.Dir, Spec: job.Spec, ReadOnly: job.Spec.ReadOnly}
	if err := m.Publish(ctx, publication, access); err != nil {
		return err
	}
	asked, done := statsSignal(job.StatsFile)
	defer done()
	ready()
	err = watchMount(ctx, m, publication, job, access, asked)
	if serr := writeStats(cleanup, m, job); err == nil {
		err = serr
	}
	return errors.Join(err, m.Unpublish(cleanup, mountID, job.Dir))
}

// makeCacheDir makes a directory for the worker's disk cache, which belongs to
// the worker's user if we are root.
func makeCacheDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // as mkdir -p does
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(dir, keeper.WorkerID, keeper.WorkerID)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// watchMount returns when ctx ends, or the mount is unmounted, or with an error
// when nobody serves it any more. It passes a renewed token on, and writes counters
// when it is asked to.
func watchMount(ctx context.Context, m *mounter.Manager, p volume.Publication, job mountJob, access uftp.Access, asked <-chan os.Signal) error {
	gone := make(chan error, 1)
	go func() { gone <- m.Wait(ctx, p.Target) }()
	renew := time.NewTicker(tokenEvery)
	defer renew.Stop()
	sealed := job.Access
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-gone:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("the mount on %s has ended: %w", job.Dir, err)
			}
			return nil
		case <-asked:
			if err := writeStats(ctx, m, job); err != nil {
				return err
			}
			continue
		case <-renew.C:
		}
		if job.TokenFile == "" {
			continue
		}
		access.Credential = uftp.TokenFile{Path: job.TokenFile}
		renewed, err := sealable(ctx, access)
		if err != nil || bytes.Equal(renewed, sealed) {
			continue // a file that is being replaced; the next look finds it
		}
		sealed = renewed
		if access, err := uftp.UnmarshalAccess(renewed); err == nil && len(gone) == 0 {
			_ = m.Publish(ctx, p, access) // it logs what the auth service says
		}
	}
}

// mountInBackground starts this program again, with the job on its standard
// input, and returns when that one has mounted or failed.
func (a *app) mountInBackground(ctx context.Context, job mountJob, logFile string) error {
	input, err := json.Marshal(job)
	if err != nil {
		return err
	}
	args := append(logFlags(a, slog.LevelWarn), "mount", "--resume")
	if logFile != "" {
		if logFile, err = filepath.Abs(logFile); err != nil {
			return err
		}
		args = append(args, "--log-file="+logFile)
	}
	// It outlives us, so it must not end with our context.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe", args...) //nolint:gosec // ourselves
	cmd.Stdin = bytes.NewReader(input)
	cmd.Dir = "/"
	cmd.Env = backgroundEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	report, err := io.ReadAll(pipe)
	if err != nil {
		return err
	}
	if string(report) == backgroundReady {
		return cmd.Process.Release()
	}
	_, _ = a.stderr.Write(report)
	_ = cmd.Wait()
	return codeError(max(cmd.ProcessState.ExitCode(), exitFailure))
}

// backgroundEnv is our environment without credentials: they are in the job.
func backgroundEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != envPassword && name != envToken && name != envUser {
			env = append(env, v)
		}
	}
	return env
}

// backgroundReady is what the background process reports; anything else is an
// error message.
const backgroundReady = "ready\n"

// resumeMount is the background process.
func (a *app) resumeMount(ctx context.Context, logFile string) error {
	report := a.stdout
	a.stderr = report // until it is mounted
	var job mountJob
	if err := json.NewDecoder(a.stdin).Decode(&job); err != nil {
		return usageErrorf("--resume is for csi-uftp's own use")
	}
	if logFile == "" {
		logFile = os.DevNull
	}
	out, err := os.OpenFile(logFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // the user names it
	if err != nil {
		return usageErrorf("--log-file: %v", err)
	}
	defer func() { _ = out.Close() }()
	a.stderr = out
	logger, err := a.logger(slog.LevelWarn)
	a.stderr = report
	if err != nil {
		return err
	}
	return a.mount(ctx, job, logger, out, func() {
		_, _ = io.WriteString(report, backgroundReady)
		if closer, ok := report.(io.Closer); ok {
			_ = closer.Close()
		}
		a.stderr = out
		_ = unix.Dup2(int(out.Fd()), int(os.Stderr.Fd())) // for a crash
	})
}
