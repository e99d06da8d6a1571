// Package uftptest is a UFTP server for tests: an auth service (HTTPS) and a
// UFTPD (FTP) in this process, over a real directory. [Start] gives a [Server]
// that ends with the test; [New] one that its caller closes.
//
// It behaves as the servers people run do, quirks included, and misbehaves on
// request: [Server.Faults] breaks the file server, [Server.AuthFaults] the auth
// service. [StartReal] puts the same auth service in front of a real UFTPD, and
// [Each] runs one test against both, so that a difference between the two is a
// failing test.
//
// A Server is safe for concurrent use. It listens on loopback unless told
// otherwise, and it is no server for real data: it trusts whoever reaches it to
// be a test, and serves with the rights of the process it runs in.
package uftptest
