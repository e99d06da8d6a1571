package spool_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/spool"
)

var seed = flag.Uint64("spool.seed", 0, "seed of the random test, 0 for several fixed ones")

// model is what a Spool says it is: a byte and a state for each offset.
type model struct {
	data  []byte
	dirty []bool
	sent  []bool
}

// TestAgainstByteSlice compares random operations with a plain byte slice.
func TestAgainstByteSlice(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	for _, seed := range seeds {
		testAgainstByteSlice(t, seed)
	}
}

func testAgainstByteSlice(t *testing.T, seed uint64) {
	const (
		size  = 6 * spool.PageSize
		limit = 9 * spool.PageSize
		files = 3
	)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := spool.New(limit)
	models := make([]model, files)
	for i := range models {
		models[i] = model{make([]byte, size), make([]bool, size), make([]bool, size)}
	}
	uploading := make([]bool, files)
	full := 0
	for step := range 1500 {
		id := rnd.IntN(files)
		m := &models[id]
		off := rnd.Int64N(size)
		n := rnd.Int64N(min(size-off, spool.PageSize) + 1)
		switch op := rnd.IntN(10); {
		case op < 5:
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			ok, retry := s.TryWrite(uint64(id), p, off)
			if !ok {
				full++
				if retry == nil {
					t.Fatalf("seed %d step %d: no room, and nothing to wait for", seed, step)
				}
				break
			}
			copy(m.data[off:], p)
			for i := off; i < off+n; i++ {
				m.dirty[i], m.sent[i] = true, false
			}
		case op == 5 && !uploading[id]:
			s.Truncate(uint64(id), off)
			clear(m.dirty[off:])
		case op == 6 && !uploading[id]:
			ranges := s.Begin(uint64(id))
			copy(m.sent, m.dirty)
			uploading[id] = true
			last := int64(-1)
			for _, r := range ranges {
				if r.Off <= last {
					t.Fatalf("seed %d step %d: ranges not in order or not joined: %v", seed, step, ranges)
				}
				last = r.End()
				p := make([]byte, r.Len)
				if err := s.Copy(uint64(id), p, r.Off); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
				if !bytes.Equal(p, m.data[r.Off:r.End()]) {
					t.Fatalf("seed %d step %d: wrong bytes to upload", seed, step)
				}
			}
		case op == 7 && uploading[id]:
			uploading[id] = false
			s.Commit(uint64(id))
			for i := range m.sent {
				if m.sent[i] {
					m.dirty[i], m.sent[i] = false, false
				}
			}
		case op == 8 && uploading[id]:
			uploading[id] = false
			s.Abort(uint64(id))
			clear(m.sent)
		case op == 9 && rnd.IntN(40) == 0:
			s.Drop(uint64(id))
			clear(m.dirty)
			clear(m.sent)
			uploading[id] = false
		}
		check(t, seed, step, s, uint64(id), m, off, n)
	}
	if full == 0 {
		t.Errorf("seed %d: the limit was never met", seed)
	}
	for id := range files {
		s.Drop(uint64(id))
	}
	if st := s.Stats(); st.Used != 0 || st.Dirty != 0 || st.Files != 0 {
		t.Errorf("seed %d: after dropping all: %+v", seed, st)
	}
}

func check(t *testing.T, seed uint64, step int, s *spool.Spool, id uint64, m *model, off, n int64) {
	t.Helper()
	got := bytes.Repeat([]byte{0xee}, int(n))
	want := bytes.Clone(got)
	for i := off; i < off+n; i++ {
		if m.dirty[i] {
			want[i-off] = m.data[i]
		}
	}
	gaps := s.Overlay(id, got, off)
	if !bytes.Equal(got, want) {
		t.Fatalf("seed %d step %d: wrong bytes at %d+%d", seed, step, off, n)
	}
	inGap := make([]bool, n)
	for _, g := range gaps {
		for i := g.Off; i < g.End(); i++ {
			inGap[i-off] = true
		}
	}
	for i := range inGap {
		if inGap[i] == m.dirty[off+int64(i)] {
			t.Fatalf("seed %d step %d: gaps %v do not complement the dirty bytes", seed, step, gaps)
		}
	}
	if st := s.Stats(); st.Used > st.Limit || st.Used < st.Dirty {
		t.Fatalf("seed %d step %d: %+v", seed, step, st)
	}
	if step%25 != 0 {
		return // what follows looks at every byte
	}
	var end, total int64
	for i, d := range m.dirty {
		if d {
			end = int64(i) + 1
			total++
		}
	}
	if got := s.End(id); got != end {
		t.Fatalf("seed %d step %d: end %d, want %d", seed, step, got, end)
	}
	if got := s.Bytes(id); got != total {
		t.Fatalf("seed %d step %d: %d dirty bytes, want %d", seed, step, got, total)
	}
	if got := s.Dirty(id); got != (total > 0) {
		t.Fatalf("seed %d step %d: dirty %v with %d bytes", seed, step, got, total)
	}
	below := int64(0)
	for i := off - 1; i >= 0; i-- {
		if m.dirty[i] {
			below = i + 1
			break
		}
	}
	if got := s.EndBelow(id, off); got != below {
		t.Fatalf("seed %d step %d: end below %d is %d, want %d", seed, step, off, got, below)
	}
}

func TestRoomIsAnnounced(t *testing.T) {
	s := spool.New(spool.MinLimit)
	p := make([]byte, spool.MinLimit)
	if ok, _ := s.TryWrite(1, p, 0); !ok {
		t.Fatal("no room in an empty spool")
	}
	ok, retry := s.TryWrite(2, p[:1], 0)
	if ok {
		t.Fatal("room beyond the limit")
	}
	select {
	case <-retry:
		t.Fatal("room announced before there is any")
	default:
	}
	s.Begin(1)
	s.Commit(1)
	select {
	case <-retry:
	default:
		t.Fatal("room not announced")
	}
	if ok, _ := s.TryWrite(2, p[:1], 0); !ok {
		t.Fatal("no room after all was uploaded")
	}
}

// TestMaxWrite fills an empty spool with the longest write at the worst offset.
func TestMaxWrite(t *testing.T) {
	for _, limit := range []int64{0, spool.MinLimit, 1 << 20} {
		s := spool.New(limit)
		if ok, _ := s.TryWrite(1, make([]byte, s.MaxWrite()), spool.PageSize-1); !ok {
			t.Errorf("limit %d: no room for a write of MaxWrite", limit)
		}
	}
}

// TestOverwriteDuringUpload writes over bytes that are on their way.
func TestOverwriteDuringUpload(t *testing.T) {
	s := spool.New(1 << 20)
	s.TryWrite(1, []byte("aaaaaaaaaa"), 0)
	s.Begin(1)
	s.TryWrite(1, []byte("bb"), 4)
	s.Commit(1)
	got := []byte("..........")
	s.Overlay(1, got, 0)
	if string(got) != "....bb...." {
		t.Errorf("dirty after the upload: %q", got)
	}
}

func BenchmarkSequentialWrite(b *testing.B) {
	p := make([]byte, 1<<20)
	s := spool.New(64 << 20)
	b.SetBytes(int64(len(p)))
	var off int64
	for b.Loop() {
		if ok, _ := s.TryWrite(1, p, off); !ok {
			b.Fatal("no room")
		}
		if off += int64(len(p)); off%(8<<20) == 0 {
			s.Begin(1)
			s.Commit(1)
		}
	}
}
