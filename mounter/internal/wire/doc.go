// Package wire is how node, keeper and worker talk: JSON messages in
// SOCK_SEQPACKET datagrams with descriptors beside them, calls in both
// directions over one connection ([Peer]), sealed memory for credentials
// ([Seal]), and errors that keep their cause ([EncodeError]).
//
// A [Peer] is safe for concurrent use; calls are answered in any order, and a
// call whose context ends is cancelled on the far side too. The package knows
// nothing of mounts beyond the shape of the messages in messages.go.
package wire
