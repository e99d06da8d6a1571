// Package diskcache keeps pieces of remote files in a local directory, for all
// mounts of one identity on a node, across restarts and crashes.
//
// The main type is [Cache], which is safe for concurrent use. Any number of
// processes may use one directory at the same time; there is no daemon.
//
// # On the disk
//
// A content (path, size and modification time of a file, as one identity sees it
// at one source) is two files, named by a hash of all that. The one is sparse and
// holds the bytes where they are in the remote file; so one that is complete can
// stand for the remote file: [Cache.Complete]. The other has a header, a checksum
// of each page of 4 KiB that is there, and when all of it was found right.
//
// Nothing is locked, synced or renamed to write a page: first its bytes go to
// the disk, then its checksum, and who reads compares them. Whatever a crash, a
// full disk, bad memory or another program leaves behind is no page. Two who
// write the same page write the same bytes. A page that was found wrong takes
// its content with it.
//
// # Room
//
// A locked file counts what all processes have put there (ledger.go). If it gets
// too much, the contents that were used longest ago are removed, but for those
// whose file somebody has from [Cache.Complete]: it is locked for as long as it is
// open. If these take all of the budget nothing more is put there. A content takes
// half of the budget at most.
//
// # Trouble
//
// Get says no and Put says no: there are no errors. After an error of the disk,
// a full one for instance, the cache rests for a while. Writing is done behind
// the reader, from a bounded queue that drops what it has no room for; later
// [Cache.Fill] can bring it.
//
// The package does not know whether a content is what the server has now, and
// keeps none that is younger than two seconds: its size and time may not tell
// what it is.
package diskcache
