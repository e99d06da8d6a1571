package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// PartPrefix begins the temporary names of files that are not whole.
const PartPrefix = ".uftp-part-"

// How far ahead of the first byte missing a part may be written: here, and on a
// server, where what is not confirmed yet is far more than what is in memory.
const (
	localWindow  = 64 << 20
	remoteWindow = 128 << 20
)

// windowOf is that of parts in a tree.
func windowOf(t Tree) int64 {
	if _, remote := t.(Remote); remote {
		return remoteWindow
	}
	return localWindow
}

// partName is the temporary name of a file's part. It stands for one version of
// the source, and has no blank, which the protocol has trouble with.
func partName(target string, source uftp.Info) string {
	name := path.Base(target)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", name, source.Size, source.ModTime.Unix()))
	return PartPrefix + hex.EncodeToString(sum[:10])
}

// isPart reports whether name is that of a part.
func isPart(name string) bool { return strings.HasPrefix(name, PartPrefix) }

// trusted returns how many bytes of a part of the given size are surely good.
func (r *runner) trusted(size int64) int64 { return max(0, size-r.window) }
