package mounter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// matchKey is equal for publications that may share a mount: same settings, and
// a credential with the same fingerprint, which is a keyed hash itself. private
// is "" or what keeps a mount to one target. It names the mount's directory,
// which everybody on the node can see, so it is keyed too.
func matchKey(key []byte, spec volume.Spec, fingerprint, private string) string {
	h := hmac.New(sha256.New, key)
	// A Spec is plain data: it always encodes, and in one way.
	if err := json.NewEncoder(h).Encode([]any{spec, fingerprint, private}); err != nil {
		panic(fmt.Sprintf("encode spec: %v", err))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
