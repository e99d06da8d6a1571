// Package uftp is a client library for UFTP, the UNICORE file transfer protocol.
//
// UFTP is FTP with extensions behind a separate login: an auth service, spoken
// to over HTTPS, turns a person's [Credential] into the address of a UFTPD file
// server and a one-time password ([Authenticate]); a [Client] logs in there and
// moves data. A Client is safe for concurrent use, and concurrency is what makes it
// fast: reads that happen at the same time share few sessions, each with many
// ranges on their way, and so do large writes. Any other operation borrows one
// session of the pool, runs there alone, and gives the session back, or closes it
// if anything unexpected was seen on its connections.
//
// The package does not cache, does not know about FUSE or Kubernetes, and never
// writes a secret anywhere but to the connection it is meant for.
package uftp
