// Package fusefs is the file system of a mount: it turns requests of the kernel
// into calls of a [Remote], which is a *uftp.Client, and gives programs the
// POSIX behaviour that the wire does not have.
//
// The main type is [FS], a go-fuse RawFileSystem with its own table of inodes.
// Each family of operations has a file: lookup, along, open, read, ahead, walk,
// foresee, passthrough, write, upload, truncate, setattr, create, remove, rename, dir.
//
// # What is where
//
//   - tree: node ids, their places (parent and name, so that renaming a
//     directory moves all below it) and lookup counts.
//   - node: one file or directory, with what the server last said about it.
//   - spool: bytes written and not yet on the server. Reads see them on top of
//     the server's, so the server's size and the spool's end together are the
//     file's size. Changes of size go to the server at once.
//   - block cache: bytes of the server, by content (see below).
//   - handles: open files and directories, with listings as they were read.
//
// # Versions
//
// The server has no handles and no change counter: a file's version is its size
// and its modification time in seconds. One open sees one version. When a file
// that is open for reading turns out to have been changed by others, its node is
// left to its readers, who get ESTALE for what they do not have yet, and its
// name goes to a new one (see hear). On a node that is not open, or also to
// write, the new version takes the place of the old one. A node counts two
// things. Its epoch grows when that happens: open files were opened in an epoch
// and read no other (ESTALE). Its seq grows with every content, ours too: it
// keys the block cache. After every fetch from the server the version is
// compared before the bytes are believed, and after every change of ours the
// server is asked what it made of it. What cannot be seen is a change by others
// that keeps the size, within the second of the last one; caches filled within
// two seconds of a file's modification time are therefore not trusted by the
// next open.
//
// A file that others append to is another version, too: who follows it has to
// open it again (tail -F and not tail -f), unless the writer is on this mount.
//
// # Reading ahead
//
// Opening a file asks whether it is still the same, and for a small one brings
// its bytes in the same round trip. Who opens the files of a directory in the
// order of its listing finds the next ones looked at and read (see ahead.go):
// what was learned of a file that way is good for one open, within attrTimeout.
// Who opens them in any order, with names that have to be looked up again, has
// them read at that lookup (see foresee.go). Who reads directories in the order of
// the listing that they are in, and goes down into them, finds the next ones
// listed, and their files read if he reads files (see walk.go): such a listing is
// good for one reader, within attrTimeout, and not after a change of ours. Who lists
// all first and opens files later has those of the next directories read then.
//
// What was not used for attrTimeout is looked up again, a name after the other. So
// a question about a directory is one about what was looked up last below it, too
// (see along.go).
//
// # Locks
//
// Two gates of a node, which may be shared or exclusive and heed cancellation,
// are held while the server works; see lock.go:
//
//   - entries, of a directory: shared to look names up, exclusive to change one.
//   - op, of everything: shared by whoever uses the node's path or reads its
//     content, exclusive to whoever changes its content or its place. Whoever
//     uses a path holds op of all directories on it.
//
// Order: entries gates by node id, then op gates by node id, then a directory
// handle's own mutex (held while the server lists), then in memory that of
// writeback, then tree.mu or node.mu, and last the mutexes of spool, cache and
// handles, none of which calls back. tree.mu and node.mu are not held together,
// and node.mu is not taken under writeback's. Readers wait for the block cache
// without any gate, because its flights take gates themselves.
//
// # Interrupts
//
// The kernel interrupts a request when its caller gets any signal, also a
// harmless one, and cannot be told to restart the call. A request therefore
// goes on for [Config.InterruptGrace] first. After that what only waits or
// reads gives up with EINTR; what has begun to change something on the server,
// and flush and fsync, do not: they end with the server's answer or after the
// volume's ioTimeout.
package fusefs
