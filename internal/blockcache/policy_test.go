package blockcache_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// TestScanResistance: what a random reader uses again survives a scan of 4 GiB,
// and so do blocks that were in use before two scans side by side.
func TestScanResistance(t *testing.T) {
	const budget, hot = 64 * mib, 24 * mib
	c := newCache(t, blockcache.Config{Fetch: nothing, Budget: budget})
	index := blockcache.Key{File: 2, Version: blockcache.Version{Size: 1 << 30}}
	p := make([]byte, mib)
	random := func() (misses int64) {
		r, before := c.NewReader(), c.Stats().Misses
		rnd := rand.New(rand.NewPCG(5, 5))
		for _, i := range rnd.Perm(hot / (64 * kib)) {
			if _, err := r.ReadAt(t.Context(), index, p[:64*kib], int64(i)*640*kib); err != nil {
				t.Fatal(err)
			}
		}
		return c.Stats().Misses - before
	}
	random()
	random()
	one, two := c.NewReader(), c.NewReader()
	for off := int64(0); off < 4<<30; off += mib {
		if _, err := one.ReadAt(t.Context(), bigFile(4<<30), p, off); err != nil {
			t.Fatal(err)
		}
		if behind := off - 2*mib; behind >= 0 {
			if _, err := two.ReadAt(t.Context(), bigFile(4<<30), p, behind); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := c.Stats()
	if st.FetchedBytes-hot != 4<<30 {
		t.Errorf("the scans fetched %d bytes", st.FetchedBytes-hot)
	}
	if misses := random(); misses > 0 {
		t.Errorf("%d of %d blocks are gone", misses, hot/(64*kib))
	}
}

// TestScanUsesWhatIsFree: without anybody else a file that fits stays.
func TestScanUsesWhatIsFree(t *testing.T) {
	c := newCache(t, blockcache.Config{Fetch: nothing, Budget: 64 * mib})
	p := make([]byte, mib)
	for range 3 {
		r := c.NewReader()
		for off := int64(0); off < 48*mib; off += mib {
			if _, err := r.ReadAt(t.Context(), bigFile(48*mib), p, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := c.Stats(); st.FetchedBytes != 48*mib {
		t.Errorf("%d bytes fetched for a file of 48 MiB", st.FetchedBytes)
	}
}

// TestScansSideBySide reads four files at a time, each of which would fit, but not
// all of them: together they leave no more behind than one that does not.
func TestScansSideBySide(t *testing.T) {
	const scans, size = 4, 96 * mib
	c := newCache(t, blockcache.Config{Fetch: nothing, Budget: 256 * mib,
		RoundTrip: func() time.Duration { return 100 * time.Microsecond },
		Reach:     func() int64 { return 64 * mib }})
	readers := make([]*blockcache.Reader, scans)
	for i := range readers {
		readers[i] = c.NewReader()
	}
	p := make([]byte, mib)
	used := int64(0)
	for off := int64(0); off < size; off += mib {
		for i, r := range readers {
			key := blockcache.Key{File: uint64(i), Version: blockcache.Version{Size: size}}
			if _, err := r.ReadAt(t.Context(), key, p, off); err != nil {
				t.Fatal(err)
			}
			used = max(used, c.Stats().Used)
		}
	}
	if most := int64(scans*16*mib + 32*mib); used > most { // ahead of each, and behind all
		t.Errorf("%d MiB were in use", used/mib)
	}
	if st := c.Stats(); st.FetchedBytes != scans*size || st.Ahead != 0 {
		t.Errorf("%d bytes were fetched for %d, %d are ahead still", st.FetchedBytes, scans*size, st.Ahead)
	}
	// What one reads alone afterwards stays, since it fits.
	alone := blockcache.Key{File: scans, Version: blockcache.Version{Size: size}}
	for range 2 {
		r := c.NewReader()
		for off := int64(0); off < size; off += mib {
			if _, err := r.ReadAt(t.Context(), alone, p, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := c.Stats().FetchedBytes; got != (scans+1)*size {
		t.Errorf("%d bytes of the last file were fetched again", got-(scans+1)*size)
	}
}
