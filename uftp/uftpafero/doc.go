// Package uftpafero shows the files of a UFTP server to programs that use afero:
// [New] makes an [afero.Fs] of a [uftpfs.FS]. It is a package of its own so that
// afero stays out of others.
//
// Names may be absolute or relative, and begin at the FS's directory either way.
// An Fs is safe for concurrent use; the methods of one file wait for each other.
package uftpafero
