package mounter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// fusermount finds the set-uid helper that mounts for people who are not root.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("mounting without root needs fusermount3 (package fuse3): %w", exec.ErrNotFound)
}

// fusermountDevice has the helper open the device and mount it on dir, and
// returns the device: it comes over the socket that _FUSE_COMMFD names.
func fusermountDevice(ctx context.Context, dir string, spec volume.Spec) (*wire.FD, error) {
	helper, err := fusermount()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours := wire.NewFD(pair[0])
	defer func() { _ = ours.Close() }()
	theirs := os.NewFile(uintptr(pair[1]), "fusermount")
	defer func() { _ = theirs.Close() }()

	cmd := exec.CommandContext(ctx, helper, "-o", fusermountOptions(spec), "--", dir) //nolint:gosec // found by its name
	cmd.Env = []string{"_FUSE_COMMFD=3"}
	cmd.ExtraFiles = []*os.File{theirs}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", helper, err, bytes.TrimSpace(out))
	}
	_ = theirs.Close()
	return receiveDevice(ours)
}

func fusermountOptions(spec volume.Spec) string {
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	options := fmt.Sprintf("fsname=%s,subtype=uftp,default_permissions,max_read=%d", escape.Replace(sourceName(spec)), maxRead)
	if spec.ReadOnly {
		options += ",ro"
	}
	return options
}

// receiveDevice takes the descriptor that the helper, which has ended, sent.
func receiveDevice(socket *wire.FD) (*wire.FD, error) {
	buf, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket.Int(), buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive the device: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("fusermount sent no device")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("fusermount sent no device")
	}
	return wire.NewFD(fds[0]), nil
}

// fusermountUnmount has the helper unmount dir, lazily if it is in use.
func fusermountUnmount(ctx context.Context, dir string) error {
	helper, err := fusermount()
	if err != nil {
		return err
	}
	if exec.CommandContext(ctx, helper, "-u", "-q", "--", dir).Run() == nil { //nolint:gosec // as above
		return nil
	}
	out, err := exec.CommandContext(ctx, helper, "-u", "-z", "--", dir).CombinedOutput() //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("%s: %w: %s", helper, err, bytes.TrimSpace(out))
	}
	return nil
}
