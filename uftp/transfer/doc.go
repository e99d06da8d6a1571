// Package transfer copies files and directory trees between the local disk and
// UFTP servers, in every direction: [Run] does what a [Job] says.
//
// A [Tree] is a place to copy from or to: [Local] or [Remote]. Files are copied
// side by side, and a big file in ranges side by side, as many as
// Options.Parallel says; so much memory is used and no more. One file that
// cannot be copied does not stop the others: the [Observer] hears of it, the
// [Summary] counts it.
//
// # Nothing half-written
//
// A file gets its name when it is whole and has the right size. Until then its
// data is beside it under a temporary name, which stands for one version of the
// source: server, path, size and modification time. Whoever copies the same version
// again goes on where the last attempt ended. That works without a journal,
// because no byte is written more than 128 MiB ahead of the first one missing:
// of a part of n bytes all but the last 128 MiB are good, whatever interrupted it.
package transfer
