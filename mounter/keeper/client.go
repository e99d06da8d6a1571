package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// Death says that a mount's worker ended and nobody had asked for it. The
// keeper has given its copy of the device up.
type Death struct {
	Name   string
	Reason string
	Clean  bool // the kernel ended the mount, and everything is uploaded
}

// Mount is what a keeper remembers of a mount.
type Mount struct {
	Spec   volume.Spec
	Note   json.RawMessage
	Init   []byte // the kernel's INIT request
	Reply  []byte // the reply to it
	Device *wire.FD
}

// maxDeaths bounds the deaths that wait to be read; more end the connection, and
// whoever reads them learns the same from the next list.
const maxDeaths = 4096

// Client is a node's connection to a keeper.
type Client struct {
	peer   *wire.Peer
	uid    uint32 // the keeper's
	hello  wire.HelloResult
	deaths chan Death
}

// Dial connects to the keeper that listens at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to the keeper: %w", err)
	}
	return newClient(ctx, c)
}

// NewLocal connects to a keeper in the same process.
func NewLocal(ctx context.Context, k *Keeper) (*Client, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	far, err := wire.FromFD(theirs)
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	near, err := wire.FromFD(ours)
	if err != nil {
		_ = far.Close()
		return nil, err
	}
	if !k.ServeConn(far) { //nolint:contextcheck // a connection outlives the call that makes it
		_ = near.Close()
		return nil, fmt.Errorf("keeper: %w", os.ErrClosed)
	}
	return newClient(ctx, near)
}

func newClient(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	uid, err := peerUID(conn)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("who is the keeper: %w", err)
	}
	c := &Client{uid: uid, deaths: make(chan Death, maxDeaths)}
	c.peer = wire.NewPeer(context.WithoutCancel(ctx), conn, wire.PeerConfig{Event: c.event, Files: 1})
	if err := c.peer.Call(ctx, wire.KeeperHello, struct{}{}, &c.hello); err != nil {
		_ = c.peer.Close()
		return nil, fmt.Errorf("greet the keeper: %w", err)
	}
	go func() {
		<-c.peer.Done() // after it there are no events
		close(c.deaths)
	}()
	return c, nil
}

func (c *Client) event(method string, params json.RawMessage) {
	var p wire.DiedParams
	if method != wire.KeeperDied || json.Unmarshal(params, &p) != nil {
		return
	}
	select {
	case c.deaths <- Death(p):
	default:
		go func() { _ = c.peer.Close() }()
	}
}

// Close ends the connection. Mounts that are served go on.
func (c *Client) Close() error {
	err := c.peer.Close()
	for range c.deaths { // until it is closed: nothing of ours runs any more
	}
	return err
}

// Deaths gives the workers that end unasked. It is closed when the connection
// ends.
func (c *Client) Deaths() <-chan Death { return c.deaths }

// Alive reports whether the connection stands.
func (c *Client) Alive() bool {
	select {
	case <-c.peer.Done():
		return false
	default:
		return true
	}
}

// Key is what credentials' fingerprints are keyed with, the same for as long as
// the keeper remembers its mounts, and no other keeper's. Who may only greet gets none.
func (c *Client) Key() []byte { return c.hello.Key }

// WorkerUID is who the workers are: the keeper's own user, and whoever it says if
// that is root.
func (c *Client) WorkerUID() uint32 {
	if c.uid != 0 {
		return c.uid
	}
	return c.hello.WorkerUID
}

// Create starts a worker for a new mount and has it reach the server with the
// credential, sealed plaintext from [uftp.MarshalAccess]. Its error is the
// server's answer. The credential's descriptor stays the caller's. A worker
// that is not served ends with the connection.
func (c *Client) Create(ctx context.Context, name string, spec volume.Spec, note json.RawMessage, credential *wire.FD) error {
	return c.peer.Call(ctx, wire.KeeperCreate, wire.CreateParams{Name: name, Spec: spec, Note: note}, nil, credential)
}

// Serve gives the worker its device, which stays the caller's, and the kernel's
// INIT request, and returns the reply to write to the device.
func (c *Client) Serve(ctx context.Context, name string, init []byte, device *wire.FD) ([]byte, error) {
	var result wire.ServeResult
	if err := c.peer.Call(ctx, wire.KeeperServe, wire.ServeParams{Name: name, Init: init}, &result, device); err != nil {
		return nil, err
	}
	return result.Reply, nil
}

// Pass gives the worker a socket on which it may ask the node, which has the other
// end, to have the kernel read files: see [wire.NodeBack]. The socket stays the
// caller's.
func (c *Client) Pass(ctx context.Context, name string, socket *wire.FD) error {
	return c.peer.Call(ctx, wire.KeeperPass, wire.MountParams{Name: name}, nil, socket)
}

// SetNote replaces the note that the keeper keeps for the node.
func (c *Client) SetNote(ctx context.Context, name string, note json.RawMessage) error {
	return c.peer.Call(ctx, wire.KeeperNote, wire.NoteParams{Name: name, Note: note}, nil)
}

// Refresh has the auth service accept a credential, and the worker use it from
// now on if apply is set. An error leaves everything as it was.
func (c *Client) Refresh(ctx context.Context, name string, credential *wire.FD, apply bool) error {
	return c.peer.Call(ctx, wire.KeeperRefresh, wire.RefreshParams{Name: name, Apply: apply}, nil, credential)
}

// Stats returns what the worker knows without asking the server.
func (c *Client) Stats(ctx context.Context, name string) (volume.Stats, error) {
	var stats volume.Stats
	err := c.peer.Call(ctx, wire.KeeperStats, wire.MountParams{Name: name}, &stats)
	return stats, err
}

// List names the mounts that are served.
func (c *Client) List(ctx context.Context) ([]string, error) {
	var result wire.ListResult
	err := c.peer.Call(ctx, wire.KeeperList, struct{}{}, &result)
	return result.Names, err
}

// Get returns a mount that is served. Its device is the caller's.
func (c *Client) Get(ctx context.Context, name string) (*Mount, error) {
	var r wire.GetResult
	files, err := c.peer.CallFiles(ctx, wire.KeeperGet, wire.MountParams{Name: name}, &r)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("keeper sent no device")
	}
	return &Mount{Spec: r.Spec, Note: r.Note, Init: r.Init, Reply: r.Reply, Device: files[0]}, nil
}

// Remove ends a mount's worker: it may take grace to upload and end because its
// mount is gone, then it is told to, then killed. It returns how the worker
// ended, and whether everything written was uploaded.
func (c *Client) Remove(ctx context.Context, name string, grace time.Duration) (reason string, clean bool, err error) {
	var r wire.RemoveResult
	p := wire.RemoveParams{Name: name, GraceSeconds: int(grace.Round(time.Second).Seconds())}
	err = c.peer.Call(ctx, wire.KeeperRemove, p, &r)
	return r.Reason, r.Clean, err
}
