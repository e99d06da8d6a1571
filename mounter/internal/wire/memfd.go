package wire

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// seals make a memfd constant: neither its bytes nor its length nor its seals
// change any more, whoever holds it.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// MaxSealed bounds what is put into sealed memory, in bytes: credentials with
// a CA bundle.
const MaxSealed = 4 << 20

// ErrNotSealed means that a descriptor that should hold constant memory does not.
var ErrNotSealed = errors.New("not sealed memory")

// Seal puts data into sealed, anonymous memory that only its descriptor reaches.
func Seal(name string, data []byte) (*FD, error) {
	if len(data) > MaxSealed {
		return nil, fmt.Errorf("seal %s: %d bytes, at most %d", name, len(data), MaxSealed)
	}
	n, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		n, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	f := NewFD(n)
	for off := 0; off < len(data); {
		w, err := unix.Pwrite(n, data[off:], int64(off))
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		off += w
	}
	if _, err := unix.FcntlInt(uintptr(n), unix.F_ADD_SEALS, seals); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}

// ReadSealed returns what [Seal] put there. It refuses memory that its giver
// could still change.
func ReadSealed(f *FD) ([]byte, error) {
	got, err := unix.FcntlInt(uintptr(f.Int()), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, ErrNotSealed
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return nil, fmt.Errorf("stat sealed memory: %w", err)
	}
	if st.Size > MaxSealed {
		return nil, fmt.Errorf("sealed memory of %d bytes, at most %d", st.Size, MaxSealed)
	}
	data := make([]byte, st.Size)
	for off := 0; off < len(data); {
		n, err := unix.Pread(f.Int(), data[off:], int64(off))
		if err != nil {
			return nil, fmt.Errorf("read sealed memory: %w", err)
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		off += n
	}
	return data, nil
}
