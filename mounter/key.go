package mounter

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// matchKey is equal for publications that may share a mount: same settings, and
// a credential with the same fingerprint, which is a keyed hash itself. private
// is "" or what keeps a mount to one target. It is part of the name of the
// mount's directory, which everybody on the node can see, so it is keyed too.
func matchKey(key []byte, spec volume.Spec, fingerprint, private string) string {
	h := hmac.New(sha256.New, key)
	// A Spec is plain data: it always encodes, and in one way.
	if err := json.NewEncoder(h).Encode([]any{spec, fingerprint, private}); err != nil {
		panic(fmt.Sprintf("encode spec: %v", err))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// newName makes a name for a mount. No other has ever had it: the keeper may be
// at the end of one when the next with the same settings begins.
func newName(match string) string {
	return match[:16] + "-" + strings.ToLower(rand.Text()[:10])
}

// validName reports whether a mount's name is one that newName could have made,
// in so far as it is safe as the name of a directory.
func validName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}
