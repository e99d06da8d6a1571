package mounter_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/mounter/worker"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// TestMain is also the worker: the keeper under test executes this binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		os.Exit(worker.Run(context.Background(), worker.Config{Logger: log, Open: openForTest}))
	}
	if len(os.Args) == 4 && os.Args[1] == "keeper" {
		os.Exit(runKeeper(os.Args[2], os.Args[3]))
	}
	goleak.VerifyTestMain(m)
}

// runKeeper is a keeper in a process of its own.
func runKeeper(socket, writable string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	k, err := keeper.New(keeper.Config{Logger: log, Env: []string{"GORACE=atexit_sleep_ms=0"}, Writable: []string{writable}})
	if err != nil {
		return 1
	}
	l, err := keeper.Listen(socket)
	if err != nil {
		return 1
	}
	if err := k.Serve(context.Background(), l); err != nil {
		return 1
	}
	return 0
}

// fakeURL makes a worker serve the local directory of the volume's path instead
// of a server. The user's password is goodPassword plus anything.
const (
	fakeURL      = "fake://local"
	goodPassword = "good-M4RKED-S3CRET"
)

func openForTest(ctx context.Context, spec volume.Spec, access uftp.Access, log *slog.Logger) (*worker.Volume, error) {
	if spec.AuthURL != fakeURL {
		return worker.OpenUFTP(ctx, spec, access, log)
	}
	f := readFault(spec.Path)
	f.at("start")
	if _, err := fakeProve(ctx, access); err != nil {
		return nil, err
	}
	if _, err := os.Stat(spec.Path); err != nil {
		return nil, &uftp.Error{Op: "stat", Path: spec.Path, Code: 550, Msg: "no such directory", Err: fs.ErrNotExist}
	}
	root, err := gofs.NewLoopbackRoot(spec.Path)
	if err != nil {
		return nil, err
	}
	return &worker.Volume{
		FS: &fakeFS{RawFileSystem: gofs.NewNodeFS(root, &gofs.Options{}), fault: f},
		Prove: func(ctx context.Context, a uftp.Access) (string, error) {
			f.at("connected")
			return fakeProve(ctx, a)
		},
		Update: func(a uftp.Access) { log.Info("update", "access", a) },
		Close:  func() error { return nil },
	}, nil
}

func fakeProve(_ context.Context, access uftp.Access) (string, error) {
	c, ok := access.Credential.(uftp.UsernamePassword)
	if !ok {
		return "", fmt.Errorf("credential is a %T", access.Credential)
	}
	if !strings.HasPrefix(c.Password.Reveal(), goodPassword) {
		return "", &uftp.Error{Op: "authenticate", Path: fakeURL, Code: 403, Msg: "Forbidden", Err: uftp.ErrAuth}
	}
	return c.Username, nil
}

// Notify does nothing: go-fuse's file system has no use for it.
func (*fakeFS) Notify(func(uint64)) {}

// fault is what befalls a worker: "kill" or "hang", a blank, and at which stage.
type fault string

// faultFile in a served directory holds a fault for the workers that serve it.
const faultFile = ".fault"

func readFault(dir string) fault {
	b, err := os.ReadFile(filepath.Join(dir, faultFile))
	if err != nil {
		return ""
	}
	return fault(b)
}

func (f fault) at(stage string) {
	switch f {
	case fault("kill " + stage):
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case fault("hang " + stage):
		select {}
	}
}

// fakeFS is a local directory with two names in it that are not there.
type fakeFS struct {
	fuse.RawFileSystem
	fault fault
}

// StatFs is the first request, which the node makes to see whether the mount
// answers.
func (f *fakeFS) StatFs(cancel <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.fault.at("probe")
	if f.fault != "" {
		go f.fault.at("answered") // about when the node binds
	}
	return f.RawFileSystem.StatFs(cancel, h, out)
}

func (f *fakeFS) Drain(context.Context) error {
	f.fault.at("drain")
	return nil
}

func (f *fakeFS) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	switch name {
	case "panic":
		panic("asked for it")
	case "hang":
		<-cancel
		return fuse.EINTR
	}
	return f.RawFileSystem.Lookup(cancel, h, name, out)
}

func access(user, password string) uftp.Access {
	return uftp.Access{Credential: uftp.UsernamePassword{Username: user, Password: uftp.Secret(password)}}
}
