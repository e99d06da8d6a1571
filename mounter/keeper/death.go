package keeper

import (
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
)

// workerEnded is what happens when a worker has ended. It is the one place that
// decides what becomes of the mount: today the mount ends with its worker.
//
// If nobody asked for the end, the keeper gives its copy of the device up and
// tells the node, which does the same. The last copy gone, the kernel aborts
// the connection: applications get ENOTCONN instead of hanging, and the next
// publish of a target mounts afresh. So it is when the keeper is told to stop: it
// waits for those that upload, and nobody may wait for the others meanwhile.
func (k *Keeper) workerEnded(m *mount) {
	k.mu.Lock()
	asked, closing := m.removing, k.closed
	served := m.device != nil
	delete(k.mounts, m.name)
	_ = m.device.Close()
	peers := make([]*wire.Peer, 0, len(k.peers))
	for p := range k.peers {
		peers = append(peers, p)
	}
	k.mu.Unlock()

	reason := m.process.reason()
	if m.process.clean() || asked || !served {
		k.log.Info("worker ended", "mount", m.name, "reason", reason)
	} else {
		k.log.Error("worker died", "mount", m.name, "reason", reason)
	}
	if asked && !closing || !served {
		return
	}
	for _, p := range peers {
		// A node that cannot be told has a broken connection, and looks at
		// the list when it is back.
		_ = p.Notify(wire.KeeperDied, wire.DiedParams{Name: m.name, Reason: reason, Clean: m.process.clean()})
	}
}
