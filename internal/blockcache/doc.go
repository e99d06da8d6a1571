// Package blockcache is a read cache in memory over any fetch function: blocks
// of files that are known by a number and a version, within one exact budget of
// bytes, fetched once however many readers wait for them.
//
// The main types are [Cache] and, for a reader that may be sequential,
// [Reader]. Both are safe for concurrent use.
//
// Memory is handed out in runs: a run is what one call of the [FetchFunc]
// brings, one or more neighbouring units of a file, and is cached and evicted as
// a whole. A random reader makes runs of the units that it touches, a
// sequential one runs up to the block size, some of them ahead of itself. A run
// counts against the budget from before its flight starts until nobody uses it.
//
// A flight belongs to the cache and not to the reader that was first to want
// it: readers wait for it under their own context and share its error. A run is
// published whole or not at all. A file has one version at a time: a reader
// that comes with a newer one drops the blocks of the older.
//
// The package does not know what a file is, does not check versions (the
// FetchFunc does), and does not write.
package blockcache
