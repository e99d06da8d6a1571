// Package uftpfs reads the uftp:// URLs by which people name a directory or file
// on a UFTP server together with the credentials for it: [ParseURL] and [URL].
//
// The grammar is PyFilesystem's for UFTP, so that URLs people already have keep
// their meaning:
//
//	uftp://[user]:[password]@host:port/rest/auth/NAME:/base?token=…&identity=…
//
// The package touches neither network nor files; what a token or an identity
// refers to is read by the caller. Its values are plain data and safe to share.
package uftpfs
