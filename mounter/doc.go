// Package mounter makes volumes appear at target paths. Its [Manager] is the
// privileged part: it opens /dev/fuse, mounts, binds and unmounts, and never
// parses a byte from the network; a worker process behind the keeper reaches
// the server and serves the mount.
//
// A mount is one FUSE superblock below <PluginDir>/mounts. Publications with
// equal settings and credentials share one; each target is a bind of it. What
// is mounted is read from mountinfo, what it means from the keeper; nothing is
// kept on disk. A Manager is safe for concurrent use: one operation per target
// runs at a time, and a second is refused with [ErrInProgress].
//
// Nothing here opens or stats a path on a mount, and whatever may block on one
// (statfs, umount) runs in a goroutine that is waited for with a deadline.
package mounter
