package uftp

import (
	"io/fs"
	"time"
)

// Info describes a file or directory as the server reports it. Symbolic links
// are followed by the server and never reported as such.
type Info struct {
	Name    string      // base name, byte for byte as on the server
	Size    int64       // bytes; whatever the server's file system says for directories
	Mode    fs.FileMode // type and permission bits, set-id and sticky bits
	ModTime time.Time   // modification time, exact to the second
	// Access holds what the session's user may do, as access(2) answers it:
	// bits 4 (read or list), 2 (write), 1 (execute or search).
	Access uint8
}

// IsDir reports whether i describes a directory.
func (i Info) IsDir() bool { return i.Mode.IsDir() }
