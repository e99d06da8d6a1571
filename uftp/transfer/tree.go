package transfer

import (
	"context"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Tree is a place with files. Names are '/'-separated and relative to the
// tree's root, which is ".". A Tree is safe for concurrent use.
type Tree interface {
	// Stat describes what name is; links are followed. Only local times of
	// modification are finer than a second.
	Stat(ctx context.Context, name string) (uftp.Info, error)
	// List returns the entries of a directory, in no order.
	List(ctx context.Context, dir string) ([]uftp.Info, error)
	// ListSome is List for several directories, [uftp.MaxListSome] at most.
	ListSome(ctx context.Context, dirs []string) ([]uftp.Listing, error)
	// Open opens the version of a file that info describes, for reading.
	Open(ctx context.Context, name string, info uftp.Info) (Source, error)
	// Create opens the part of a file that is to be called name: the data under
	// a temporary name in the same directory. If resume, what the part holds
	// from an earlier attempt stays.
	Create(ctx context.Context, name, part string, resume bool) (Part, error)
	// Update opens a file itself, made if need be, for writing in place.
	Update(ctx context.Context, name string) (Part, error)
	// MkdirSome makes directories, whose parents exist, in their order, and returns an
	// error, or nil, for each.
	MkdirSome(ctx context.Context, names []string) []error
	// RemoveSome removes files, or links, whatever they lead to, and empty directories,
	// in their order, and returns an error, or nil, for each. A directory that is to be
	// removed as a file is [syscall.EISDIR].
	RemoveSome(ctx context.Context, what []uftp.Removal) []error
	// SetAttrSome sets attributes, and returns an error, or nil, for each.
	SetAttrSome(ctx context.Context, names []string, attrs []uftp.Attr) []error
	// Hash returns the hash of a file's content in lower-case hex; see
	// [uftp.Client.Hash] for algorithms.
	Hash(ctx context.Context, name, algo string) (string, error)
	// Path is name for people and error messages.
	Path(name string) string
	// Origin is name among those of all trees: no other file has it. Two names may
	// be one file.
	Origin(name string) string
}

// Source is a file open for reading. ReadAt may be called concurrently.
type Source interface {
	// ReadAt fills p from off, or fails.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Check fails with [ErrChanged] if the file is not the version any more that
	// was opened.
	Check(ctx context.Context) error
	Close() error
}

// Part is a file that is not whole yet. WriteAt may be called concurrently.
type Part interface {
	// Size is what an earlier attempt left: all bytes of it may have been
	// written, or not.
	Size() int64
	// WriteAt writes all of p at off, or fails. An empty p at 0 makes an empty
	// file, the only content that is written so.
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Hash is that of the whole part.
	Hash(ctx context.Context, algo string) (string, error)
	// Commit checks that the part has size bytes, sets its attributes, and gives
	// it the file's name, replacing what had it.
	Commit(ctx context.Context, size int64, a uftp.Attr) error
	// Close ends the work on a part. Unless it was committed, it is removed, or
	// kept for the next attempt.
	Close(ctx context.Context, keep bool) error
}
