// Package uftpfs shows the files of a UFTP server as a file system of Go: [FS]
// has the interfaces of [io/fs], and what these lack to change files. It is
// opened with a client ([New]) or with the URLs by which people name a directory
// together with the credentials for it ([OpenURL]).
//
// The grammar of URLs is PyFilesystem's for UFTP, so that those people already
// have keep their meaning:
//
//	uftp://[user]:[password]@host:port/rest/auth/NAME:/base?token=…&identity=…
//
// An FS and the ReadAt and WriteAt of its files are safe for concurrent use; the
// other methods of one file wait for each other. The package keeps no data but
// what open files read ahead and write behind: it is no cache, and two files open
// on one name see each other's changes as the server does.
package uftpfs
