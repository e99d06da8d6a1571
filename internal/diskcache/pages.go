package diskcache

import (
	"encoding/binary"
	"errors"
	"io"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// aligned reports whether a range of a content consists of whole pages.
func (s *stored) aligned(off, n int64) bool {
	return off >= 0 && n > 0 && off+n <= s.size && off%page == 0 && (n%page == 0 || off+n == s.size)
}

// each calls f for each page of p, which is at off.
func (s *stored) each(p []byte, off int64, sums []byte, f func(i int, pageNo int64, p, sum []byte) bool) bool {
	for i := 0; i*page < len(p); i++ {
		if !f(i, off/page+int64(i), p[i*page:min((i+1)*page, len(p))], sums[i*sumSize:(i+1)*sumSize]) {
			return false
		}
	}
	return true
}

func present(sum []byte) bool { return binary.LittleEndian.Uint64(sum) != 0 }

// read fills p, if all of it is there. What is not what was put there is
// errDamaged.
func (s *stored) read(p []byte, off int64, sums []byte) (bool, error) {
	sums, err := s.sums(off/page, int64(len(p)+page-1)/page, sums)
	if err != nil {
		return false, err
	}
	if !s.each(p, off, sums, func(_ int, _ int64, _, sum []byte) bool { return present(sum) }) {
		return false, nil
	}
	if n, err := s.data.ReadAt(p, off); n < len(p) {
		if isEOF(err) {
			err = errDamaged
		}
		return false, err
	}
	if !s.each(p, off, sums, func(_ int, no int64, p, sum []byte) bool {
		return s.sum(no, p) == binary.LittleEndian.Uint64(sum)
	}) {
		return false, errDamaged
	}
	return true, nil
}

// missing returns how many bytes of the pages of [off, off+n) are not there.
func (s *stored) missing(off, n int64, sums []byte) (int64, error) {
	sums, err := s.sums(off/page, (n+page-1)/page, sums)
	if err != nil {
		return 0, err
	}
	bytes := int64(0)
	for i := 0; i < len(sums); i += sumSize {
		if !present(sums[i : i+sumSize]) {
			bytes += page + sumSize
		}
	}
	return bytes, nil
}

// write puts the pages of p that are not there yet: first the bytes, then their
// checksums.
func (s *stored) write(p []byte, off int64, sums []byte) error {
	sums, err := s.sums(off/page, int64(len(p)+page-1)/page, sums)
	if err != nil {
		return err
	}
	for from := 0; from*page < len(p); {
		to := from
		for to*page < len(p) && !present(sums[to*sumSize:(to+1)*sumSize]) {
			to++
		}
		if to == from {
			from++
			continue
		}
		part, at := p[from*page:min(to*page, len(p))], off+int64(from)*page
		if _, err := s.data.WriteAt(part, at); err != nil {
			return err
		}
		new := sums[from*sumSize : to*sumSize]
		s.each(part, at, new, func(_ int, no int64, p, sum []byte) bool {
			binary.LittleEndian.PutUint64(sum, s.sum(no, p))
			return true
		})
		if _, err := s.index.WriteAt(new, headerSize+at/page*sumSize); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// chunk is how much is read or written at a time, in bytes, and stride how much
// is looked at in the index.
const (
	chunk  = 1 << 20
	stride = 64 * chunk
)

// whole reports whether every page is there.
func (s *stored) whole() (bool, error) {
	if s.full.Load() {
		return true, nil
	}
	sums := make([]byte, 0, stride/page*sumSize)
	for off := int64(0); off < s.size; off += stride {
		missing, err := s.missing(off, min(stride, s.size-off), sums)
		if err != nil || missing > 0 {
			return false, err
		}
	}
	s.full.Store(true)
	return true, nil
}

// verify reads everything and returns an error if any of it is not right. stop
// ends it early.
func (s *stored) verify(stop <-chan struct{}) (bool, error) {
	buf, sums := make([]byte, min(chunk, s.size)), make([]byte, chunk/page*sumSize)
	for off := int64(0); off < s.size; off += chunk {
		select {
		case <-stop:
			return false, nil
		default:
		}
		if ok, err := s.read(buf[:min(chunk, s.size-off)], off, sums); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
