// Package volume says what to mount and how: the [Spec] parsed, defaulted and
// validated once from CSI volume attributes, mount flags or URL query keys by
// the one table [Attributes]. It holds no behaviour beyond that and imports
// nothing of the project.
package volume

import (
	"errors"
	"time"
)

// ErrInvalid is the cause of every error about an attribute's name or value.
var ErrInvalid = errors.New("invalid volume attribute")

// ErrSecret is the ErrInvalid of credentials that are missing, contradictory or
// unreadable. Its messages name keys, never values.
var ErrSecret error = secretError{}

type secretError struct{}

func (secretError) Error() string { return "invalid secret" }
func (secretError) Unwrap() error { return ErrInvalid }

// ErrKubernetes means that a Secret could not be read because the Kubernetes API
// did not answer.
var ErrKubernetes = errors.New("kubernetes API not available")

// ErrInUse means that the volume is published elsewhere and its access mode
// forbids another publication.
var ErrInUse = errors.New("volume in use")

// ErrInProgress means that another operation on the same target or volume runs.
var ErrInProgress = errors.New("another operation is in progress")

// ErrConflict means that the target already shows the volume with other options.
var ErrConflict = errors.New("already published with other options")

// Spec is one volume: where it is and how it is shown. It is comparable, holds
// no secret, and travels as JSON between our processes.
type Spec struct {
	// Where.
	AuthURL       string // https://host:port/rest/auth/NAME
	Path          string // base directory on the server; "" is the user's home
	Server        string // host:port of a UFTPD, instead of AuthURL (two-step mount)
	RemoteGroup   string // Unix group to ask for, "" is the user's default
	ClientAddress string // addresses the auth service announces to UFTPD, "" is ours as it sees it
	Insecure      bool   // do not verify the auth service's TLS certificate

	// How it looks.
	ReadOnly bool
	UID, GID uint32 // owner shown
	FileMode uint32 // permission bits of files shown; 0 is the server's own
	DirMode  uint32 // permission bits of directories shown; 0 is the server's own
	Umask    uint32 // permission bits removed from the server's own

	// FSGroup, if FSGroupSet, owns everything: group bits equal to the owner's
	// are shown, and GID is FSGroup.
	FSGroup    uint32
	FSGroupSet bool

	// How long the kernel may believe what it was told.
	AttrTimeout, EntryTimeout, NegativeTimeout time.Duration
	OpenTimeout                                time.Duration // how long those who open a file to read it may

	// Resources.
	CacheSize    int64         // bytes of memory for blocks read
	BlockSize    int64         // bytes fetched at once, a power of two
	CacheDir     string        // local directory for blocks read, "" for none
	CacheDirSize int64         // bytes in it, of all mounts that use it
	DirtyLimit   int64         // bytes of memory for data not yet confirmed by the server
	Verify       string        // "none", "md5" or "sha256": how what was uploaded is compared with the server's copy
	MaxSessions  int           // sessions opened at most, within the server's limit
	RateLimit    int64         // bytes read and written per second at most, 0 for no limit
	IdleTimeout  time.Duration // after which unused sessions are given back
	IOTimeout    time.Duration // after which an operation that waits for the server fails

	// How data connections are used.
	Encryption string // "none", "aes" or "blowfish"
	Compress   bool
	Streams    int // TCP connections of a transfer

	// Where the credential is, if not in the CSI secrets.
	SecretName, SecretNamespace string

	// Sharing is "auto" or "none": whether publications with equal settings and
	// identity share one mount and its sessions.
	Sharing string
}

// Publication is one volume shown at one target path.
type Publication struct {
	VolumeID string
	Target   string // absolute path
	Spec     Spec
	ReadOnly bool // this target only
	// Exclusive refuses a second target of the same volume on this node (CSI
	// access modes SINGLE_NODE_WRITER and SINGLE_NODE_SINGLE_WRITER).
	Exclusive bool
}

// Stats is what a mount knows about itself without asking the server.
type Stats struct {
	TotalBytes, AvailableBytes, UsedBytes    int64
	TotalInodes, AvailableInodes, UsedInodes int64
	// Abnormal is empty, or why the volume is not usable now.
	Abnormal string
	// Counters is what the mount has done so far, and holds now, by name: for
	// people and programs that look into its speed.
	Counters map[string]int64
}
