package blockcache_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
)

// shelf is a tier that keeps whole requests, and lets go of memory when told to.
type shelf struct {
	mu   sync.Mutex
	kept map[int64][]byte
	done []func()
	full bool
}

func (s *shelf) Get(_ context.Context, r blockcache.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.kept[r.Off]; len(p) == len(r.Buf) {
		copy(r.Buf, p)
		return true
	}
	clear(r.Buf) // what a tier leaves behind does not matter
	return false
}

func (s *shelf) Put(r blockcache.Request, done func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return false
	}
	s.kept[r.Off] = r.Buf // not copied: it has to stay
	s.done = append(s.done, done)
	return true
}

func TestTier(t *testing.T) {
	key := blockcache.Key{File: 1, Version: blockcache.Version{Size: 1 << 20}}
	tier := &shelf{kept: map[int64][]byte{}}
	fetches, fail := 0, error(nil)
	c := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 64 << 10, Tier: tier,
		Fetch: func(_ context.Context, r blockcache.Request) error {
			fetches++
			copy(r.Buf, content(r.Key)[r.Off:])
			return fail
		}})
	read := func(off int64) error {
		t.Helper()
		p := make([]byte, 64<<10)
		_, err := c.ReadAt(t.Context(), key, p, off)
		if err == nil && !bytes.Equal(p, content(key)[off:off+64<<10]) {
			t.Errorf("wrong bytes at %d", off)
		}
		return err
	}
	for off := int64(0); off < 512<<10; off += 64 << 10 {
		if err := read(off); err != nil {
			t.Fatal(err)
		}
	}
	c.Close() // the tier still has the bytes
	for off, p := range tier.kept {
		if !bytes.Equal(p, content(key)[off:off+64<<10]) {
			t.Errorf("the bytes at %d changed under the tier", off)
		}
		tier.kept[off] = bytes.Clone(p)
	}
	if len(tier.kept) != 8 || fetches != 8 || c.Stats().Cached == 0 {
		t.Errorf("%d kept, %d fetched, %+v", len(tier.kept), fetches, c.Stats())
	}
	for _, done := range tier.done {
		done()
	}
	if st := c.Stats(); st.Cached != 0 {
		t.Errorf("left behind: %+v", st)
	}

	again := newCache(t, blockcache.Config{Budget: 1 << 20, BlockSize: 64 << 10, Tier: tier,
		Fetch: func(context.Context, blockcache.Request) error { return errFault }})
	c, tier.full = again, true
	if err := read(0); err != nil {
		t.Error(err)
	}
	if err := read(768 << 10); !errors.Is(err, errFault) {
		t.Errorf("%v, want the fetch's error", err)
	}
	if st := c.Stats(); st.TierBytes != 64<<10 || st.FetchedBytes != 64<<10 || st.Fetches != 1 {
		t.Errorf("%+v", st)
	}
}
