package driver

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Causes of this package's own making.
var (
	errRequest      = errors.New("invalid request")
	errCapability   = errors.New("not supported")
	errExceeds      = errors.New("more than the volume can do") // an errCapability of a publish, for which CSI has a code of its own
	errSize         = errors.New("size out of range")
	errNotPublished = errors.New("volume not published")
	errNoVolume     = errors.New("no such volume")
	errUncertain    = errors.New("not known whether the target shows the volume")
	errInline       = errors.New("volumes written into a pod (ephemeral inline volumes) are not enabled")
	errEndpoint     = errors.New("not allowed in a volume written into a pod")
)

// row maps a cause to what the caller sees.
type row struct {
	// reason is a stable word: it starts the message, and people search for it.
	reason string
	code   codes.Code
	is     func(error) bool
	remedy string
}

// statusTable is the only map from causes to gRPC codes; the first row that fits
// counts, so special causes stand before general ones.
//
// The codes decide what kubelet does when a first publish fails. Canceled,
// DeadlineExceeded, Unavailable, ResourceExhausted and Aborted say that the
// operation may still have an effect, and are repeated as they are. All others
// are final: kubelet removes the target directory before it tries again, which is
// right for us, because the mounter leaves nothing behind when it fails for good.
var statusTable = []row{ //nolint:gochecknoglobals // a table
	{"InProgress", codes.Aborted, is(volume.ErrInProgress),
		"wait: the caller repeats the request by itself"},
	{"StateUnknown", codes.Unavailable, is(errUncertain),
		"wait: the caller repeats the request by itself; if it stays so, see the driver's log"},
	{"Conflict", codes.AlreadyExists, is(volume.ErrConflict),
		"use another name or target, or make the parameters equal"},
	{"VolumeInUse", codes.FailedPrecondition, is(volume.ErrInUse),
		"the access mode allows one pod only: wait until the other one has ended, or use ReadWriteMany"},
	{"SecretInvalid", codes.InvalidArgument, is(volume.ErrSecret),
		"correct the Secret; docs/PARAMETERS.md lists its keys"},
	{"InvalidAttribute", codes.InvalidArgument, is(volume.ErrInvalid),
		"correct the volume's attributes; docs/PARAMETERS.md lists them"},
	{"InvalidRequest", codes.InvalidArgument, is(errRequest),
		"the caller does not follow CSI"},
	{"Unsupported", codes.FailedPrecondition, is(errExceeds),
		"ask for something else; docs/PARAMETERS.md says what a volume can be"},
	{"Unsupported", codes.InvalidArgument, is(errCapability),
		"ask for something else; docs/PARAMETERS.md says what a volume can be"},
	{"SizeOutOfRange", codes.OutOfRange, is(errSize),
		"ask for a size that is at least zero and at most the limit"},
	{"InlineNotEnabled", codes.InvalidArgument, is(errInline),
		"use a PersistentVolumeClaim, or ask the administrator for components/inline"},
	{"EndpointNotAllowed", codes.PermissionDenied, is(errEndpoint),
		"use a PersistentVolumeClaim, or ask the administrator to allow it (csi-uftp node --inline-allow)"},
	{"VolumeNotPublished", codes.NotFound, is(errNotPublished),
		"publish it first"},
	{"VolumeNotFound", codes.NotFound, is(errNoVolume),
		"the volume is not one that this driver made, or it was deleted"},
	{"KubernetesUnreachable", codes.Unavailable, is(volume.ErrKubernetes),
		"check the driver's network and the API server; passing the Secret by nodePublishSecretRef does without them"},

	{"TlsUntrusted", codes.Unavailable, is(uftp.ErrUntrusted),
		"put the certificate of the CA that signed the auth service's into the Secret as ca.crt"},
	{"AuthRejected", codes.Unauthenticated, authService(uftp.ErrAuth),
		"check the credentials in the Secret, and that this person may use the server"},
	{"LoginRejected", codes.Unauthenticated, is(uftp.ErrAuth),
		"the server did not take the one-time password; it is bound to the client's address: if that changes on the way, set clientAddress"},
	{"TooManySessions", codes.ResourceExhausted, is(uftp.ErrBusy),
		"the server limits the sessions of each user: use fewer mounts or a smaller maxSessions, or ask the site to raise the limit"},
	{"AuthUnreachable", codes.Unavailable, authService(uftp.ErrUnavailable),
		"check authURL, and that the cluster's network reaches the auth service"},
	{"ServerUnreachable", codes.Unavailable, is(uftp.ErrUnavailable),
		"check that the UFTPD server runs, and that the cluster's network reaches its ports"},
	{"ServerUnknown", codes.NotFound, authService(fs.ErrNotExist),
		"check the last part of authURL, which is the server's name at the auth service"},
	{"GroupUnknown", codes.InvalidArgument, authService(fs.ErrInvalid),
		"check group: it must be one of the user's Unix groups on the server"},

	{"DirectoryNotEmpty", codes.FailedPrecondition, is(syscall.ENOTEMPTY),
		"something in the directory cannot be seen through UFTP (a dangling link, a name that is not UTF-8): remove it on the server"},
	{"NoSpace", codes.ResourceExhausted, is(syscall.ENOSPC, syscall.EDQUOT),
		"free space on the server, or ask for a larger quota"},
	{"PathNotFound", codes.NotFound, is(fs.ErrNotExist),
		"check path: the directory must exist on the server"},
	{"PathForbidden", codes.PermissionDenied, is(fs.ErrPermission),
		"check path, and that the user has the rights there"},
	{"PathExists", codes.AlreadyExists, is(fs.ErrExist),
		"use another path, or remove what is there"},
	{"PathInvalid", codes.InvalidArgument, is(fs.ErrInvalid, syscall.ENOTDIR),
		"check path"},

	{"TimedOut", codes.DeadlineExceeded, is(context.DeadlineExceeded),
		"the caller repeats the request; if it stays so, check that the server answers"},
	{"Canceled", codes.Canceled, is(context.Canceled),
		"the caller gave up, and may repeat the request"},
	{"Unimplemented", codes.Unimplemented, is(errors.ErrUnsupported),
		"the server is too old for this, or the driver does not have it"},
	{"ProtocolError", codes.Internal, is(uftp.ErrProtocol),
		"the server answered what it should not: report it with the driver's log"},
	{"Internal", codes.Internal, func(error) bool { return true },
		"report it with the driver's log"},
}

// is matches errors with any of the causes.
func is(causes ...error) func(error) bool {
	return func(err error) bool {
		for _, c := range causes {
			if errors.Is(err, c) {
				return true
			}
		}
		return false
	}
}

// authService matches errors with the cause that came from the auth service, and
// not from UFTPD.
func authService(cause error) func(error) bool {
	return func(err error) bool {
		if !errors.Is(err, cause) {
			return false
		}
		for {
			e, ok := errors.AsType[*uftp.Error](err)
			if !ok {
				return false
			}
			if e.Op == "authenticate" {
				return true
			}
			err = e.Err
		}
	}
}

// toStatus makes the status for an error: its code, and the message
// "Reason: cause; remedy".
func toStatus(err error) *status.Status {
	// Of the generated code (no such method), or of who wired us up. What is wrapped
	// around it would stand before the reason.
	if own, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return own.GRPCStatus()
	}
	for _, r := range statusTable {
		if r.is(err) {
			return status.New(r.code, r.reason+": "+cause(err)+"; "+r.remedy)
		}
	}
	panic("driver: the last row of statusTable fits everything")
}

// cause keeps messages on one line and within what an event shows.
func cause(err error) string {
	const most = 700
	s := strings.ToValidUTF8(strings.Join(strings.Fields(err.Error()), " "), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
