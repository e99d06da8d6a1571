package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// nodeConn answers one node process.
type nodeConn struct {
	keeper *Keeper
	may    access

	mu      sync.Mutex          // guards created
	created map[string]struct{} // mounts of this connection that are not served yet
}

func (n *nodeConn) handle(ctx context.Context, r *wire.Request) (any, []*wire.FD, error) {
	k := n.keeper
	if n.may == greet {
		if r.Method != wire.KeeperHello {
			return nil, nil, fmt.Errorf("%s: %w", r.Method, fs.ErrPermission)
		}
		return wire.HelloResult{}, nil, nil
	}
	switch r.Method {
	case wire.KeeperHello:
		return wire.HelloResult{Key: k.key, WorkerUID: k.cfg.WorkerUID}, nil, nil
	case wire.KeeperCreate:
		return nil, nil, n.create(ctx, r)
	case wire.KeeperServe:
		reply, err := n.serve(ctx, r)
		return reply, nil, err
	case wire.KeeperNote:
		return nil, nil, k.setNote(r)
	case wire.KeeperRefresh:
		return nil, nil, k.refresh(ctx, r)
	case wire.KeeperStats:
		stats, err := k.stats(ctx, r)
		return stats, nil, err
	case wire.KeeperList:
		return k.list(), nil, nil
	case wire.KeeperGet:
		return k.get(r)
	case wire.KeeperRemove:
		result, err := k.remove(ctx, r)
		return result, nil, err
	case wire.KeeperPass:
		return nil, nil, k.pass(ctx, r)
	}
	return nil, nil, fmt.Errorf("%s: %w", r.Method, errors.ErrUnsupported)
}

// abandon ends the workers that the node process started and never gave a
// device: nothing is mounted on them, and nobody else knows them.
func (n *nodeConn) abandon() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.created {
		if m, err := n.keeper.lookup(name); err == nil {
			n.keeper.markRemoving(m)
			m.process.stop(context.Background(), 0, termGrace)
		}
	}
}

func (n *nodeConn) create(ctx context.Context, r *wire.Request) error {
	var p wire.CreateParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	credential, err := r.Take(0)
	if err != nil {
		return err
	}
	defer func() { _ = credential.Close() }()
	k := n.keeper
	if err := k.checkCache(p.Spec); err != nil {
		return err
	}
	process, err := startProcess(ctx, k.cfg, k.log.With("mount", p.Name))
	if err != nil {
		return err
	}
	m := &mount{name: p.Name, spec: p.Spec, note: p.Note, process: process}
	if err := k.add(m); err != nil {
		process.stop(ctx, 0, 0)
		return err
	}
	k.log.Info("worker started", "mount", m.name, "worker_pid", process.pid())
	n.mu.Lock()
	n.created[m.name] = struct{}{}
	n.mu.Unlock()
	err = process.peer.Call(ctx, wire.WorkerStart, wire.StartParams{Name: p.Name, Spec: p.Spec}, nil, credential)
	if err != nil {
		k.markRemoving(m)
		process.stop(ctx, 0, termGrace)
		n.forget(m.name)
		return process.explain(ctx, err)
	}
	return nil
}

// checkCache keeps whoever may make volumes from having workers write anywhere
// but where the administrator said, or more than that.
func (k *Keeper) checkCache(spec volume.Spec) error {
	dir, most := spec.CacheDir, k.cfg.CacheDirSize
	if dir == "" {
		return nil
	}
	if most > 0 && spec.CacheDirSize > most {
		return fmt.Errorf("%w: cacheDirSize %q is more than the %s that the driver may use (csi-uftp keeper --cache-dir-size)",
			volume.ErrInvalid, volume.FormatSize(spec.CacheDirSize), volume.FormatSize(most))
	}
	if slices.Contains(k.cfg.Writable, dir) { // not below one: each directory is counted for itself
		return nil
	}
	return fmt.Errorf("%w: cacheDir %q is not a directory that the driver may cache in (csi-uftp keeper --cache-dir)",
		volume.ErrInvalid, dir)
}

func (n *nodeConn) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.created, name)
}

func (n *nodeConn) serve(ctx context.Context, r *wire.Request) (*wire.ServeResult, error) {
	var p wire.ServeParams
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	device, err := r.Take(0)
	if err != nil {
		return nil, err
	}
	k := n.keeper
	m, err := k.lookup(p.Name)
	if err != nil {
		_ = device.Close()
		return nil, err
	}
	var result wire.ServeResult
	err = m.process.peer.Call(ctx, wire.WorkerServe, wire.ServeParams{Init: p.Init}, &result, device)
	if err != nil {
		_ = device.Close()
		return nil, m.process.explain(ctx, err)
	}
	n.forget(m.name)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mounts[m.name] != m || m.device != nil {
		_ = device.Close()
		return nil, fmt.Errorf("mount %s ended, or is served already: %w", p.Name, fs.ErrExist)
	}
	m.device, m.init, m.reply = device, p.Init, result.Reply
	return &result, nil
}

func (k *Keeper) setNote(r *wire.Request) error {
	var p wire.NoteParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	m, err := k.lookup(p.Name)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m.note = p.Note
	return nil
}

func (k *Keeper) refresh(ctx context.Context, r *wire.Request) error {
	var p wire.RefreshParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	credential, err := r.Take(0)
	if err != nil {
		return err
	}
	defer func() { _ = credential.Close() }()
	m, err := k.lookup(p.Name)
	if err != nil {
		return err
	}
	err = m.process.peer.Call(ctx, wire.WorkerRefresh, wire.RefreshParams{Apply: p.Apply}, nil, credential)
	if err != nil {
		return m.process.explain(ctx, err)
	}
	return nil
}

// pass hands a worker the node's socket.
func (k *Keeper) pass(ctx context.Context, r *wire.Request) error {
	var p wire.MountParams
	if err := r.Decode(&p); err != nil {
		return err
	}
	socket, err := r.Take(0)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	m, err := k.lookup(p.Name)
	if err != nil {
		return err
	}
	if err := m.process.peer.Call(ctx, wire.WorkerPass, struct{}{}, nil, socket); err != nil {
		return m.process.explain(ctx, err)
	}
	return nil
}

func (k *Keeper) stats(ctx context.Context, r *wire.Request) (*volume.Stats, error) {
	var p wire.MountParams
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	m, err := k.lookup(p.Name)
	if err != nil {
		return nil, err
	}
	var stats volume.Stats
	if err := m.process.peer.Call(ctx, wire.WorkerStats, struct{}{}, &stats); err != nil {
		return nil, m.process.explain(ctx, err)
	}
	return &stats, nil
}

func (k *Keeper) list() wire.ListResult {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for name, m := range k.mounts {
		if m.device != nil && !m.removing {
			names = append(names, name)
		}
	}
	return wire.ListResult{Names: names}
}

func (k *Keeper) get(r *wire.Request) (any, []*wire.FD, error) {
	var p wire.MountParams
	if err := r.Decode(&p); err != nil {
		return nil, nil, err
	}
	m, err := k.lookup(p.Name)
	if err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if m.device == nil {
		return nil, nil, fmt.Errorf("mount %s has no device yet", p.Name)
	}
	device, err := m.device.Dup()
	if err != nil {
		return nil, nil, err
	}
	return wire.GetResult{Spec: m.spec, Note: m.note, Init: m.init, Reply: m.reply}, []*wire.FD{device}, nil
}

// remove ends a mount's worker. A mount that is not there has ended already.
func (k *Keeper) remove(ctx context.Context, r *wire.Request) (wire.RemoveResult, error) {
	var p wire.RemoveParams
	if err := r.Decode(&p); err != nil {
		return wire.RemoveResult{}, err
	}
	k.mu.Lock()
	m, ok := k.mounts[p.Name]
	k.mu.Unlock()
	if !ok {
		return wire.RemoveResult{Reason: "no such mount", Clean: true}, nil
	}
	k.markRemoving(m)
	// Not ctx: a node that goes away has still unmounted, and the worker still
	// has its grace to upload.
	grace := time.Duration(p.GraceSeconds) * time.Second
	m.process.stop(context.WithoutCancel(ctx), grace, max(grace, termGrace))
	return wire.RemoveResult{Reason: m.process.reason(), Clean: m.process.clean()}, nil
}

func (k *Keeper) markRemoving(m *mount) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m.removing = true
}
