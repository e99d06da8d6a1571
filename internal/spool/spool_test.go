package spool_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/spool"
)

var seed = flag.Uint64("spool.seed", 0, "seed of the random test, 0 for several fixed ones")

// model is what a Spool says it is: a byte and a state for each offset.
type model struct {
	data  []byte
	dirty []bool
	batch []int        // 1 + index of the batch that took the byte, 0 if none
	era   []spool.Mark // since which it is waited for

	now     spool.Mark
	batches []flight
}

// flight is a batch and the offsets that it took.
type flight struct {
	spool.Batch
	oldest spool.Mark // of what it took
	ended  bool
}

// flying returns where batches that have not ended took bytes.
func (m *model) flying() (ranges []spool.Range) {
	for _, b := range m.batches {
		if !b.ended {
			ranges = append(ranges, b.Ranges...)
		}
	}
	return ranges
}

// open returns the index of a batch that has not ended, or -1.
func (m *model) open(rnd *rand.Rand) int {
	var open []int
	for i, b := range m.batches {
		if !b.ended {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[rnd.IntN(len(open))]
}

// write makes a range dirty. What is dirty there already keeps its era.
func (m *model) write(p []byte, off int64) {
	copy(m.data[off:], p)
	for i := off; i < off+int64(len(p)); i++ {
		if !m.dirty[i] || m.batch[i] != 0 {
			m.era[i] = m.now
		}
		m.dirty[i], m.batch[i] = true, 0
	}
}

// end ends a batch.
func (m *model) end(b int, committed bool) {
	fl := &m.batches[b]
	fl.ended = true
	for _, r := range fl.Ranges {
		for i := r.Off; i < r.End(); i++ {
			switch {
			case m.batch[i] == b+1:
				m.batch[i] = 0
				m.dirty[i] = m.dirty[i] && !committed
			case !committed: // written over meanwhile
				m.era[i] = min(m.era[i], fl.oldest)
			}
		}
	}
}

// take checks a batch against what may be taken.
func (m *model) take(t *testing.T, b spool.Batch, limit int64, until spool.Mark) {
	t.Helper()
	if n := b.Bytes(); n > limit || n == 0 {
		t.Fatalf("batch of %d bytes, limit %d", n, limit)
	}
	last := int64(-1)
	for _, r := range b.Ranges {
		if r.Off <= last {
			t.Fatalf("ranges not in order or not joined: %v", b.Ranges)
		}
		last = r.End()
		for _, f := range m.flying() {
			if f.Off < r.End() && r.Off < f.End() {
				t.Fatalf("%v taken while %v was under way", r, f)
			}
		}
		for i := r.Off; i < r.End(); i++ {
			if !m.dirty[i] || m.batch[i] != 0 || m.era[i] > until {
				t.Fatalf("the byte at %d may not be taken", i)
			}
		}
	}
	oldest := spool.Always
	for _, r := range b.Ranges {
		for i := r.Off; i < r.End(); i++ {
			m.batch[i] = len(m.batches) + 1
			oldest = min(oldest, m.era[i])
		}
	}
	m.batches = append(m.batches, flight{Batch: b, oldest: oldest})
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
	newModel := func() model {
		return model{data: make([]byte, size), dirty: make([]bool, size), batch: make([]int, size), era: make([]spool.Mark, size)}
	}
	models := make([]model, files)
	for i := range models {
		models[i] = newModel()
	}
	full, most := 0, 0
	for step := range 2500 {
		id := rnd.IntN(files)
		m := &models[id]
		off := rnd.Int64N(size)
		n := rnd.Int64N(min(size-off, spool.PageSize) + 1)
		b := m.open(rnd)
		switch op := rnd.IntN(12); {
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
			m.write(p, off)
		case op == 5 && b < 0:
			s.Truncate(uint64(id), off)
			clear(m.dirty[off:])
		case op == 6:
			if s.Dirty(uint64(id)) {
				if mark := s.Mark(uint64(id)); mark != m.now {
					t.Fatalf("seed %d step %d: mark %d, want %d", seed, step, mark, m.now)
				}
				m.now++
			}
		case op < 9:
			until := spool.Always
			if rnd.IntN(2) == 0 {
				until = m.now - min(m.now, spool.Mark(rnd.IntN(3)))
			}
			batch, ok := s.Take(uint64(id), n, until)
			if !ok {
				break
			}
			m.take(t, batch, n, until)
			for _, r := range batch.Ranges {
				p := make([]byte, r.Len)
				if err := s.Copy(uint64(id), p, r.Off); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
				if !bytes.Equal(p, m.data[r.Off:r.End()]) {
					t.Fatalf("seed %d step %d: wrong bytes to upload", seed, step)
				}
			}
		case op < 11 && b >= 0:
			s.Commit(uint64(id), m.batches[b].Batch)
			m.end(b, true)
		case op == 11 && b >= 0:
			s.Abort(uint64(id), m.batches[b].Batch)
			m.end(b, false)
		case op == 11 && rnd.IntN(40) == 0:
			s.Drop(uint64(id))
			clear(m.dirty)
		}
		if !slices.Contains(m.dirty, true) {
			m.now = 0 // the spool has forgotten the file
			for i := range m.batches {
				m.batches[i].ended = true
			}
			clear(m.batch)
		}
		most = max(most, len(m.batches))
		check(t, seed, step, s, uint64(id), m, off, n)
	}
	if most < 10 {
		t.Errorf("seed %d: only %d batches", seed, most)
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
	for mark := range m.now + 1 {
		want := false
		for i, d := range m.dirty {
			want = want || d && m.era[i] <= mark
		}
		if got := s.DirtyUntil(id, mark); got != want {
			t.Fatalf("seed %d step %d: dirty until %d: %v, want %v", seed, step, mark, got, want)
		}
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
	takeAll(t, s)
	select {
	case <-retry:
	default:
		t.Fatal("room not announced")
	}
	if ok, _ := s.TryWrite(2, p[:1], 0); !ok {
		t.Fatal("no room after all was uploaded")
	}
}

// takeAll uploads all of file 1.
func takeAll(tb testing.TB, s *spool.Spool) {
	tb.Helper()
	b, ok := s.Take(1, 1<<60, spool.Always)
	if !ok {
		tb.Fatal("nothing to take")
	}
	s.Commit(1, b)
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
	b, _ := s.Take(1, 10, spool.Always)
	s.TryWrite(1, []byte("bb"), 4)
	if again, ok := s.Take(1, 10, spool.Always); ok {
		t.Errorf("%v was taken while older bytes were on their way there", again.Ranges)
	}
	s.Commit(1, b)
	got := []byte("..........")
	s.Overlay(1, got, 0)
	if string(got) != "....bb...." {
		t.Errorf("dirty after the upload: %q", got)
	}
}

// TestOverwriteOfWhatIsWaitedFor: as long as the server has neither the bytes that
// somebody waits for nor those written over them, his wait is not over.
func TestOverwriteOfWhatIsWaitedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		take, commit bool // before and after it is written over
		want         bool
	}{
		"at rest":                    {want: true},
		"on its way, did not arrive": {take: true, want: true},
		"on its way, arrived":        {take: true, commit: true, want: false},
	} {
		t.Run(name, func(t *testing.T) {
			s := spool.New(1 << 20)
			s.TryWrite(1, []byte("old"), 0)
			mark := s.Mark(1)
			var b spool.Batch
			if tc.take {
				b, _ = s.Take(1, 10, mark)
			}
			s.TryWrite(1, []byte("newer"), 0) // and what follows is new
			switch {
			case tc.commit:
				s.Commit(1, b)
			case tc.take:
				s.Abort(1, b)
			}
			if got := s.DirtyUntil(1, mark); got != tc.want {
				t.Errorf("dirty until the mark: %v, want %v", got, tc.want)
			}
			if !tc.want {
				return
			}
			if b, ok := s.Take(1, 10, mark); !ok || b.Bytes() != 3 {
				t.Errorf("taken for who waits: %v", b.Ranges)
			}
		})
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
			takeAll(b, s)
		}
	}
}
