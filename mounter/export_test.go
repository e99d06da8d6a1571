package mounter

import "github.com/csi-uftp/csi-uftp/mounter/internal/wire"

// CheckBacking is checkBacking for a descriptor that stays the caller's.
func CheckBacking(n int, owner uint32) error {
	f := wire.NewFD(n)
	defer f.Release()
	return checkBacking(f, owner)
}

// OpenControl is openControl, for a test.
func OpenControl(dev string) (abort func()) {
	c := openControl(dev)
	return func() {
		c.abort()
		_ = c.Close()
	}
}
