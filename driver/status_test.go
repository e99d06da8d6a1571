package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestStatus(t *testing.T) {
	auth := func(cause error) error {
		return &uftp.Error{Op: "authenticate", Path: "https://h/rest/auth/T", Code: 403, Err: cause}
	}
	ftp := func(cause error) error { return &uftp.Error{Op: "mlst", Path: "data", Code: 550, Err: cause} }
	tests := []struct {
		err    error
		reason string
		code   codes.Code
	}{
		{volume.ErrInProgress, "InProgress", codes.Aborted},
		{errUncertain, "StateUnknown", codes.Unavailable},
		{volume.ErrConflict, "Conflict", codes.AlreadyExists},
		{volume.ErrInUse, "VolumeInUse", codes.FailedPrecondition},
		{volume.ErrSecret, "SecretInvalid", codes.InvalidArgument},
		{volume.ErrInvalid, "InvalidAttribute", codes.InvalidArgument},
		{errRequest, "InvalidRequest", codes.InvalidArgument},
		{errCapability, "Unsupported", codes.InvalidArgument},
		{fmt.Errorf("%w: %w", errExceeds, errCapability), "Unsupported", codes.FailedPrecondition},
		{errSize, "SizeOutOfRange", codes.OutOfRange},
		{errInline, "InlineNotEnabled", codes.InvalidArgument},
		{errEndpoint, "EndpointNotAllowed", codes.PermissionDenied},
		{errNotPublished, "VolumeNotPublished", codes.NotFound},
		{errNoVolume, "VolumeNotFound", codes.NotFound},
		{volume.ErrKubernetes, "KubernetesUnreachable", codes.Unavailable},
		{auth(uftp.ErrUntrusted), "TlsUntrusted", codes.Unavailable},
		{auth(uftp.ErrAuth), "AuthRejected", codes.Unauthenticated},
		{&uftp.Error{Op: "stat", Err: auth(uftp.ErrAuth)}, "AuthRejected", codes.Unauthenticated},
		{ftp(uftp.ErrAuth), "LoginRejected", codes.Unauthenticated},
		{auth(uftp.ErrBusy), "TooManySessions", codes.ResourceExhausted},
		{ftp(uftp.ErrBusy), "TooManySessions", codes.ResourceExhausted},
		{auth(uftp.ErrUnavailable), "AuthUnreachable", codes.Unavailable},
		{ftp(uftp.ErrUnavailable), "ServerUnreachable", codes.Unavailable},
		{auth(fs.ErrNotExist), "ServerUnknown", codes.NotFound},
		{auth(fs.ErrInvalid), "GroupUnknown", codes.InvalidArgument},
		{ftp(syscall.ENOTEMPTY), "DirectoryNotEmpty", codes.FailedPrecondition},
		{ftp(syscall.ENOSPC), "NoSpace", codes.ResourceExhausted},
		{ftp(syscall.EDQUOT), "NoSpace", codes.ResourceExhausted},
		{ftp(fs.ErrNotExist), "PathNotFound", codes.NotFound},
		{ftp(fs.ErrPermission), "PathForbidden", codes.PermissionDenied},
		{ftp(fs.ErrExist), "PathExists", codes.AlreadyExists},
		{ftp(fs.ErrInvalid), "PathInvalid", codes.InvalidArgument},
		{ftp(syscall.ENOTDIR), "PathInvalid", codes.InvalidArgument},
		{context.DeadlineExceeded, "TimedOut", codes.DeadlineExceeded},
		{context.Canceled, "Canceled", codes.Canceled},
		{errors.ErrUnsupported, "Unimplemented", codes.Unimplemented},
		{uftp.ErrProtocol, "ProtocolError", codes.Internal},
		{errPanic, "Internal", codes.Internal},
		{errors.New("what is this"), "Internal", codes.Internal},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			err := fmt.Errorf("publish volume: %w", tt.err)
			st := toStatus(err)
			if st.Code() != tt.code {
				t.Errorf("code %v, want %v", st.Code(), tt.code)
			}
			if len(st.Details()) > 0 { // CSI wants none
				t.Errorf("details %v", st.Details())
			}
			reason, rest, _ := strings.Cut(st.Message(), ": ")
			cause, remedy, ok := strings.Cut(rest, "; ")
			if reason != tt.reason || cause != err.Error() || !ok || remedy == "" {
				t.Errorf("message %q, want %q", st.Message(), tt.reason+": "+err.Error()+"; and a remedy")
			}
		})
		seen[tt.reason] = true
	}
	word := regexp.MustCompile(`^([A-Z][a-z]+)+$`)
	for _, r := range statusTable {
		if !seen[r.reason] {
			t.Errorf("%s is not tested", r.reason)
		}
		if !word.MatchString(r.reason) {
			t.Errorf("reason %q is not one word", r.reason)
		}
	}
}

// kubelet repeats these without cleaning up; all others are final.
func TestStatusKubeletTakesForNotFinal(t *testing.T) {
	notFinal := []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted}
	want := []string{"InProgress", "StateUnknown", "KubernetesUnreachable", "TlsUntrusted", "TooManySessions",
		"AuthUnreachable", "ServerUnreachable", "NoSpace", "TimedOut", "Canceled"}
	var got []string
	for _, r := range statusTable {
		if slices.Contains(notFinal, r.code) {
			got = append(got, r.reason)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("kubelet repeats %v, want %v", got, want)
	}
}

func TestStatusMessageIsTame(t *testing.T) {
	st := toStatus(fmt.Errorf("line\nbreak \xff %s", strings.Repeat("é", 4000)))
	if msg := st.Message(); strings.Contains(msg, "\n") || len(msg) > 1000 || strings.ToValidUTF8(msg, "") != msg {
		t.Errorf("message %q", msg)
	}
	own := status.New(codes.Unimplemented, "no such method")
	if got := toStatus(own.Err()); got.Code() != codes.Unimplemented || got.Message() != own.Message() {
		t.Errorf("a status became %v", got)
	}
}
