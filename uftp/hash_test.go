package uftp_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestHashes asks for every algorithm, of ranges and of names with blanks.
func TestHashes(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(300_000, 1)
		s.WriteFile(t, "a file", data)
		s.WriteFile(t, "empty", nil)
		c := open(t, s)
		for algo, h := range map[string]hash.Hash{
			"MD5": md5.New(), "SHA-1": sha1.New(), "SHA-256": sha256.New(), "SHA-512": sha512.New(), "sha-256": sha256.New(),
		} {
			for _, r := range []struct{ off, n int64 }{{0, -1}, {0, 300_000}, {1, 1}, {100_000, 100_001}, {299_999, -1}, {5, 0}} {
				want := data[r.off:]
				if r.n >= 0 {
					want = want[:r.n]
				}
				h.Reset()
				_, _ = h.Write(want)
				sum, err := c.Hash(t.Context(), "a file", algo, r.off, r.n)
				if err != nil || sum != hex.EncodeToString(h.Sum(nil)) {
					t.Errorf("%s of %d bytes at %d: %s, %v", algo, r.n, r.off, sum, err)
				}
			}
			h.Reset()
			if sum, err := c.Hash(t.Context(), "empty", algo, 0, -1); err != nil || sum != hex.EncodeToString(h.Sum(nil)) {
				t.Errorf("%s of nothing: %s, %v", algo, sum, err)
			}
		}
	})
}
