package fusefs

import (
	"context"
	"crypto/md5" //nolint:gosec // against accidents, not against forgery
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sort"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp"
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

// sums are the hashes of what is sent of some spans, nil if nobody wants them.
type sums []sum

type sum struct {
	uftp.WriteSpan
	hash hash.Hash
	algo string
}

func (fs *FS) newSums(spans []uftp.WriteSpan) (s sums) {
	for _, sp := range spans {
		if h, algo := fs.verifier(); algo != "" {
			s = append(s, sum{sp, h, algo})
		}
	}
	return s
}

// add adds p, which is sent at off. A span that is sent again begins again.
func (s sums) add(p []byte, off int64) {
	i := sort.Search(len(s), func(i int) bool { return s[i].Off+s[i].Len > off })
	if i == len(s) {
		return
	}
	if off == s[i].Off {
		s[i].hash.Reset()
	}
	s[i].hash.Write(p)
}

// compare has the server hash what it wrote.
func (fs *FS) compare(ctx context.Context, path string, all sums) error {
	for _, s := range all {
		want := hex.EncodeToString(s.hash.Sum(nil))
		got, err := fs.server.Hash(ctx, path, s.algo, s.Off, s.Len)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if got != want {
			return fmt.Errorf("verify: the server's %s of %d bytes at %d is %s, and ours %s (%w)", s.algo, s.Len, s.Off, got, want, syscall.EIO)
		}
	}
	return nil
}
