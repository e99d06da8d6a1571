// Package worker is the process that serves one mount. [Run] is all of it: it
// takes orders from the keeper over the socket it was started with, reaches the
// server with the credential it is handed in sealed memory, takes the FUSE
// device over and serves it until the kernel says that the mount is gone or
// somebody says stop; then it uploads what is left and ends.
//
// A worker has no privileges. It opens no path but those below a volume's cacheDir,
// where it keeps what was read, and what it has to know of itself and the system in
// /proc. Requests are handled concurrently (loop.go); everything else in the process
// happens in the handlers of one [wire.Peer].
//
// If the keeper dies the worker goes on serving: its pods lose nothing, and when
// it ends itself nobody holds the device any more, so the kernel fails requests
// instead of letting them hang.
package worker
