package blockcache

const (
	// sameSteps is how often the step from one piece to the next must repeat to
	// be a stride, and trust how much of it outlives what does not fit.
	sameSteps = 2
	trust     = 4
	// mostSteps is how many pieces may be skipped, or come early or late.
	mostSteps = 8
	// mostPieces is how many pieces are fetched ahead for one request at most.
	mostPieces = 256
)

// strides finds pieces of a file that are read at equal distances, forward or
// backward. A piece may take several requests. As the kernel reads whole pages,
// the distances may be a page off.
type strides struct {
	lo, hi int64 // the last piece
	length int64 // of the last piece but one, or of the last if that is longer
	first  int64 // offset of the piece that all others are measured from
	steps  int64 // from there to the last piece
	stride int64 // the first step
	same   int   // steps that repeated it
	uneven bool  // distances differ, by a page at most
	window window
	begun  bool
}

// next notes a request and reports whether the pieces have a stride.
func (s *strides) next(off, n int64) bool {
	switch {
	case !s.begun:
		*s = strides{lo: off, hi: off + n, length: n, first: off, begun: true}
		return false
	case off == s.hi: // the piece goes on
		s.hi = off + n
		s.window.done += n
		if s.hi-s.lo > 2*s.length {
			s.same = 0 // no piece, but a scan
		}
		if s.steps == 0 {
			s.length = s.hi - s.lo
		}
	case s.same >= sameSteps:
		s.goOn(off, n)
	default:
		s.learn(off, n)
	}
	return s.same >= sameSteps
}

// learn takes the step to off for a stride if it repeats the one before.
func (s *strides) learn(off, n int64) {
	step := off - s.lo
	if s.stride != 0 && s.fits(step, s.stride) {
		s.same++
		s.steps++
		s.uneven = s.uneven || step != s.stride
	} else {
		*s = strides{stride: step, first: s.lo, steps: 1, lo: s.lo, hi: s.hi, begun: true}
	}
	s.length = max(s.hi-s.lo, n)
	s.lo, s.hi = off, off+n
	s.window.done += n
}

// goOn notes a piece of established strides, or something else.
func (s *strides) goOn(off, n int64) {
	k := roundDiv(off-s.lo, s.stride)
	if k == 0 || abs(k) > mostSteps || !s.fits(off, s.at(k)) {
		s.same--
		if s.same < sameSteps {
			*s = strides{lo: off, hi: off + n, length: n, first: off, begun: true}
		}
		return
	}
	s.uneven = s.uneven || off != s.at(k)
	s.same = min(s.same+1, sameSteps+trust)
	s.steps += k
	s.length = max(s.hi-s.lo, n)
	s.lo, s.hi = off, off+n
	s.window.done += n
	if s.steps <= 0 {
		s.first, s.steps = s.lo-s.stride, 1
	}
}

// at returns where the piece begins that is k steps after the last.
func (s *strides) at(k int64) int64 {
	if !s.uneven {
		return s.lo + k*s.stride
	}
	return s.lo + k*(s.lo-s.first)/s.steps
}

// plan fetches the pieces to come, and no byte between them. Pieces that leave
// nothing out are a scan backward: that is fetched in bulk.
func (s *strides) plan(off, n, block, most int64) plan {
	if s.window.size == 0 {
		s.window = window{size: min(firstWindow, most), most: most}
	}
	p := plan{scan: true, from: off, to: off + n, window: &s.window}
	if s.stride < 0 && -s.stride <= s.length {
		s.backward(&p, block)
		return p
	}
	pad := int64(0)
	if s.uneven {
		pad = pageSize
	}
	p.step, p.length = s.stride, s.length+2*pad
	if s.uneven {
		p.step = (s.lo - s.first) / s.steps
	}
	p.first = s.at(1) - pad
	p.count = max(1, min(s.window.size/p.length, mostPieces))
	// What was fetched for earlier requests is not to be looked at again.
	if ahead := roundDiv(s.window.upTo-p.first, p.step); s.window.upTo != 0 && ahead > 0 && ahead <= p.count {
		p.first += ahead * p.step
		p.own = ahead * p.length
		p.count -= ahead
	}
	return p
}

// backward fetches what lies before the last piece.
func (s *strides) backward(p *plan, block int64) {
	span := s.window.span(block)
	p.from = p.from / span * span
	upTo := s.lo / span * span
	if s.window.upTo != 0 && s.window.upTo < upTo && upTo-s.window.upTo <= s.window.size {
		p.own = upTo - s.window.upTo
		upTo = s.window.upTo / span * span
	}
	p.first, p.step, p.length, p.reach = upTo-span, -span, span, span
	p.count = min(upTo, s.window.size-p.own) / span
}

// fits reports whether two offsets, or two steps, are equal, or as good as that:
// if the stride is no multiple of a page.
func (s *strides) fits(a, b int64) bool {
	return a == b || abs(a-b) <= pageSize && abs(s.stride) >= 4*pageSize
}

func abs(n int64) int64 { return max(n, -n) }

// roundDiv returns a / b, rounded to the nearest.
func roundDiv(a, b int64) int64 {
	if b < 0 {
		a, b = -a, -b
	}
	a += b / 2
	if a < 0 {
		a -= b - 1
	}
	return a / b
}
