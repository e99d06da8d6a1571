//go:build !linux

package transfer

import "os"

// willNeed does nothing.
func willNeed(*os.File, int64, int64) {}
