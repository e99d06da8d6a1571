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

// window is how far ahead of the first byte missing a part may be written: twice what
// keeps eight sessions busy over a long way, since one of them may be slow.
const window = 128 << 20

// partName is the temporary name of a pair's target. It stands for one version of
// one source, and has no blank, which the protocol has trouble with.
func (r *runner) partName(p Pair, source uftp.Info) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d.%d", r.From.Origin(p.From), path.Base(p.To),
		source.Size, source.ModTime.Unix(), source.ModTime.Nanosecond()))
	return PartPrefix + hex.EncodeToString(sum[:10])
}

// isPart reports whether name is that of a part.
func isPart(name string) bool { return strings.HasPrefix(name, PartPrefix) }

// trusted returns how many bytes of a part of the given size are surely good.
func trusted(size int64) int64 { return max(0, size-window) }
