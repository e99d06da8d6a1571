// Package blockcache is a read cache in memory over any fetch function: pieces
// of files that are known by a number and a version, within one exact budget of
// bytes, fetched once however many readers wait for them.
//
// The main types are [Cache] and, for a reader with a habit, [Reader]. Both are
// safe for concurrent use.
//
// # Runs
//
// A run is what one call of the [FetchFunc] brings: 4 KiB to a block, within one
// block, cached and evicted as a whole. A flight belongs to the cache and not to
// the reader that was first to want it: readers wait for it under their own
// context and share its error; one that gives up disturbs nobody. A run is
// published whole or not at all. A file has one version at a time: a reader that
// comes with a newer one drops the runs of the older.
//
// # How much is fetched
//
// A Reader tells scans (forward, backward, at equal strides) from random
// requests: pattern.go, strides.go. A random request fetches what was asked,
// rounded to a power of two between 4 and 64 KiB that follows from how close
// requests are to one another. A scan fetches ahead, 128 KiB at first and a block
// at a time later; its window grows while it has to wait, up to half of the
// budget, which several scans share. All of the window is under way at once:
// the FetchFunc makes of that what is best.
//
// # Memory
//
// Bytes are in memory of their own outside the Go heap (arena.go): neither
// zeroed nor seen by the garbage collector, used again at once, and given back
// to the system when nobody reads for a while. The budget counts all of it, free
// or not, and half a kilobyte for each run.
//
// The FetchFunc writes into the memory that readers see. [Reader.View] shows it
// to them: no copy. [Reader.ReadAt] copies once.
//
// What leaves first is what scans are done with (policy.go), and of a file that
// the cache cannot hold it leaves at once but for the last 16 MiB: memory that was
// just used is the fastest. What random readers use again stays through scans of
// any length.
//
// A [Tier] may stand behind the memory. It fills the same memory, and is given
// from it what was fetched.
//
// The package does not know what a file is, does not check versions (the
// FetchFunc does), and does not write.
package blockcache
