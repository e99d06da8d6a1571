// Package keeper starts one worker process per mount, watches them, and keeps
// for each what must outlive the node process: a copy of the FUSE device's
// descriptor, the kernel's INIT request, the spec, and a note that the node process
// wrote. Credentials go through it to the workers; it keeps none.
//
// A [Keeper] serves connections of node processes; a [Client] is the node's end
// of one. Both are safe for concurrent use. Only a privileged node process or
// the keeper's own user may connect.
//
// The process that runs a Keeper starts other processes, so it must never open,
// stat or enter a mount: between fork and exec the child closes what it
// inherited, and closing a file on a mount that nobody serves blocks for ever.
package keeper
