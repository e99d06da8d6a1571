package fusefs

import "github.com/csi-uftp/csi-uftp/uftp"

// Store is told of the state that has to outlive the process, before the kernel
// is told of what depends on it. With what it was told last, and the bytes of
// the spool, another process can go on where this one stopped.
//
// Calls come one at a time for each kind of record, under a mutex of the file
// system: they must not block and must not call back.
type Store interface {
	PutNode(NodeRecord)
	DropNode(id uint64)
	PutHandle(HandleRecord)
	DropHandle(id uint64)
	// PutListing says what a directory handle returns from now on.
	PutListing(handle uint64, entries []uftp.Info)
}

// Place says where a node is.
type Place uint8

// The places of a node.
const (
	Linked  Place = iota // has a path that others see
	Hidden               // removed while open: has a path that is ours alone
	Removed              // removed by us: has no path
	Lost                 // removed or replaced by others: has no path
)

// NodeRecord is a row of the inode table.
type NodeRecord struct {
	ID, Generation uint64 // never used twice within a mount
	Ino            uint64 // the inode number that programs see
	Parent         uint64 // node id, 0 for the root and where there is no path
	Name           string
	Dir            bool
	Place          Place
	Lookups        uint64 // times the kernel was told of it and has not forgotten
}

// HandleRecord is an open file or directory.
type HandleRecord struct {
	ID, Node uint64
	Flags    uint32 // of open(2)
	Dir      bool
	// Version is what the file was when it was opened: a file that is another
	// after a change of process is stale.
	Size, ModTime int64
}

// noStore is the Store of a mount that does not outlive its process.
type noStore struct{}

func (noStore) PutNode(NodeRecord)             {}
func (noStore) DropNode(uint64)                {}
func (noStore) PutHandle(HandleRecord)         {}
func (noStore) DropHandle(uint64)              {}
func (noStore) PutListing(uint64, []uftp.Info) {}
