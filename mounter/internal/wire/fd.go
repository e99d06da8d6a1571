package wire

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FD owns one descriptor. It exists beside [os.File] because a descriptor that
// is only kept must stay out of Go's poller: a registered /dev/fuse would wake
// its keeper at every request, and [os.File.Fd] may change flags that all
// copies of an open file share.
type FD struct {
	n atomic.Int64 // the number, -1 once closed
}

// NewFD takes ownership of descriptor n.
func NewFD(n int) *FD {
	f := new(FD)
	f.n.Store(int64(n))
	return f
}

// Int returns the descriptor's number, or -1 after [FD.Close]. The caller sees
// to it that nobody closes f while the number is in use.
func (f *FD) Int() int { return int(f.n.Load()) }

// Dup returns a second descriptor of the same open file.
func (f *FD) Dup() (*FD, error) {
	n, err := unix.FcntlInt(uintptr(f.Int()), unix.F_DUPFD_CLOEXEC, 4)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor: %w", err)
	}
	return NewFD(n), nil
}

// Release gives the number and its ownership away: f is closed for everybody
// else, the open file is not.
func (f *FD) Release() int { return int(f.n.Swap(-1)) }

// Close closes the descriptor; only the first call does anything. It may be
// called on nil.
func (f *FD) Close() error {
	if f == nil {
		return nil
	}
	n := f.Release()
	if n < 0 {
		return nil
	}
	return unix.Close(n)
}

// closeAll closes what nobody took.
func closeAll(files []*FD) {
	for _, f := range files {
		_ = f.Close()
	}
}
