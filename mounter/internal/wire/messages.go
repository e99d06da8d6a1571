package wire

import (
	"encoding/json"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// Methods the node calls at the keeper.
const (
	KeeperHello   = "hello"   // → HelloResult
	KeeperCreate  = "create"  // CreateParams + credential: start a worker, reach the server
	KeeperServe   = "serve"   // ServeParams + device → ServeResult
	KeeperNote    = "note"    // NoteParams
	KeeperRefresh = "refresh" // RefreshParams + credential
	KeeperStats   = "stats"   // MountParams → volume.Stats
	KeeperList    = "list"    // → ListResult
	KeeperGet     = "get"     // MountParams → GetResult + device
	KeeperRemove  = "remove"  // RemoveParams → RemoveResult: the mount's worker ends, one way or another
	KeeperPass    = "pass"    // MountParams + socket: hand it to the worker
)

// KeeperDied is the event that a worker ended and nobody had asked for it.
const KeeperDied = "died" // DiedParams

// Methods the keeper calls at the worker.
const (
	WorkerStart   = "start"   // StartParams + credential: authenticate, log in, stat the root
	WorkerServe   = "serve"   // ServeParams + device → ServeResult
	WorkerRefresh = "refresh" // RefreshParams + credential
	WorkerStats   = "stats"   // → volume.Stats
	WorkerPass    = "pass"    // + socket, whose other end the node has
)

// NodeBack is what a worker calls at the node, over the socket of WorkerPass: a
// file on the disk beside it → BackResult. The kernel may read it in the place of
// one of the mount's from then on. It does not go through the keeper, which can
// afford to get no files from workers.
const NodeBack = "back"

// NodeUnback is the event that ends that.
const NodeUnback = "unback" // UnbackParams

// HelloResult introduces a keeper.
type HelloResult struct {
	// Key is what fingerprints of credentials are keyed with. It lives as long
	// as the keeper's memory of the mounts does, so that a new node process
	// computes the same fingerprints. It is for nodes only.
	Key []byte `json:"key,omitempty"`
	// WorkerUID is who the workers are, if the keeper is root. It is for nodes
	// only.
	WorkerUID uint32 `json:"worker_uid,omitempty"`
}

// MountParams names a mount.
type MountParams struct {
	Name string `json:"name"`
}

// CreateParams describes a mount to be.
type CreateParams struct {
	Name string          `json:"name"`
	Spec volume.Spec     `json:"spec"`
	Note json.RawMessage `json:"note,omitempty"` // the node's own, kept as it is
}

// StartParams tells a worker what to serve.
type StartParams struct {
	Name string      `json:"name"`
	Spec volume.Spec `json:"spec"`
}

// ServeParams carries the kernel's INIT request, which comes once in a
// connection's life.
type ServeParams struct {
	Name string `json:"name,omitempty"`
	Init []byte `json:"init"`
}

// ServeResult carries the reply to INIT. The node writes it to the device.
type ServeResult struct {
	Reply []byte `json:"reply"`
}

// NoteParams replaces the node's note on a mount.
type NoteParams struct {
	Name string          `json:"name"`
	Note json.RawMessage `json:"note"`
}

// RefreshParams says what to do with a credential once the auth service has
// accepted it.
type RefreshParams struct {
	Name  string `json:"name,omitempty"`
	Apply bool   `json:"apply"` // use it from now on; else it was only to be proved
}

// ListResult names the mounts with a live worker that serves.
type ListResult struct {
	Names []string `json:"names"`
}

// GetResult is what a keeper remembers of a mount.
type GetResult struct {
	Spec  volume.Spec     `json:"spec"`
	Note  json.RawMessage `json:"note,omitempty"`
	Init  []byte          `json:"init"`
	Reply []byte          `json:"reply"`
}

// RemoveParams says how long a worker may take to end by itself once its mount
// is gone, before it is told to, and then killed.
type RemoveParams struct {
	Name         string `json:"name"`
	GraceSeconds int    `json:"grace_seconds"`
}

// RemoveResult says how a worker ended.
type RemoveResult struct {
	Reason string `json:"reason"`
	Clean  bool   `json:"clean"` // everything written was uploaded
}

// DiedParams says that and how a worker ended.
type DiedParams struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Clean  bool   `json:"clean"` // everything was uploaded
}

// BackResult names a file to the kernel, in the replies of the mount's worker.
type BackResult struct {
	ID int32 `json:"id"`
}

// UnbackParams names a file that no reply will name any more.
type UnbackParams struct {
	ID int32 `json:"id"`
}
