package fusefs

import (
	"context"
	"crypto/md5" //nolint:gosec // against accidents, not against forgery
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"syscall"
)

// verifier returns a hash and the server's name for it, or "" if uploads are not
// to be compared.
func (fs *FS) verifier() (h hash.Hash, algo string) {
	switch fs.spec.Verify {
	case "md5":
		return md5.New(), "MD5" //nolint:gosec // see above
	case "sha256":
		return sha256.New(), "SHA-256"
	}
	return nil, ""
}

// compare has the server hash what it wrote of p at off.
func (fs *FS) compare(ctx context.Context, path string, p []byte, off int64) error {
	h, algo := fs.verifier()
	if algo == "" {
		return nil
	}
	h.Write(p)
	want := hex.EncodeToString(h.Sum(nil))
	got, err := fs.server.Hash(ctx, path, algo, off, int64(len(p)))
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if got != want {
		return fmt.Errorf("verify: the server's %s of %d bytes at %d is %s, and ours %s (%w)", algo, len(p), off, got, want, syscall.EIO)
	}
	return nil
}
