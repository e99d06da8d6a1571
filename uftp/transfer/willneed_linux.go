package transfer

import (
	"os"

	"golang.org/x/sys/unix"
)

// willNeed has the kernel begin to read what is not in its memory.
func willNeed(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED) // it is advice
}
