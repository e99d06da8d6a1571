// Package provisioner makes and removes the directories of dynamic volumes over
// UFTP. [Provisioner] implements what the driver's controller service calls; it
// mounts nothing and is safe for concurrent use: it works on one directory at a
// time only once, and shares sessions between operations for the same person.
//
// What it knows is on the server. Below the base directory, in .csi-uftp, there
// is for a volume in the directory D
//
//	D.json           the marker: this driver made D, for whom, how large
//	D.json.tmp       a marker that is being written
//	D.new            the directory before it gets its place and name
//	D.json.retained  the marker of a volume that was deleted and whose D stays
//	D.json.archived  the same, D having been renamed to archived-D
//
// and beside D, while it is being removed, .csi-uftp-trash-D. No volume's
// directory has a name that starts with a dot.
//
// Every step is one command that the server does completely or not at all, and
// they are ordered so that whoever comes after a crash sees how far it went. A
// directory without a marker is somebody else's: it is neither adopted nor
// removed.
package provisioner
