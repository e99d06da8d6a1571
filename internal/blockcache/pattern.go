package blockcache

const (
	// established is how many requests must follow on one another to be a scan.
	established = 3
	// solid is how many of them make it one that nothing else can be.
	solid = 8
	// outOfOrder is how many requests the kernel's read-ahead may come early or
	// late: it sends them side by side.
	outOfOrder = 16
	// patience is how many requests elsewhere a scan outlives.
	patience = 64

	firstWindow = 128 << 10 // bytes ahead of a scan that has just begun
	quickWindow = 4 << 20   // up to here the window grows by four, then by two
	leastFetch  = 128 << 10 // bytes of a fetch for a scan
	leapAfter   = 1 << 20   // bytes that a scan has read when it gets ahead as far as reach says
)

// plan is what to fetch for one request.
type plan struct {
	scan     bool  // what is read is not wanted again by the same reader
	from, to int64 // what a fetch of something missing may bring, beside what is asked for

	// What is to be fetched ahead: count spans of length bytes, step apart, none
	// of it before clip.
	first, step, length, count, clip int64

	own    int64   // bytes that are ahead of the reader already
	reach  int64   // from the start of the first span not fetched to window.upTo
	window *window // gets to know how it went; nil without a scan
}

// pattern finds out how one reader of a file reads it. It sees the offset and
// length of each request and knows nothing else; the caller has the lock.
type pattern struct {
	block   int64        // most bytes of one fetch
	most    int64        // most bytes ahead
	reach   func() int64 // see Config
	clock   int64        // requests
	streams [16]stream
	hand    int // the stream that began last
	strides strides
	random  random
}

// next notes a request for n > 0 bytes at off and returns what to fetch for it.
func (p *pattern) next(off, n int64) plan {
	p.clock++
	s := p.follow(off, n)
	steady := p.strides.next(off, n)
	switch {
	case s != nil && s.count >= solid && s.hi-s.lo > 2*p.strides.length:
		return p.scan(s, off, n)
	case steady:
		return p.strides.plan(off, n, p.block, p.most)
	case s != nil && (s.count >= established || s.start):
		return p.scan(s, off, n)
	}
	return p.random.plan(off, n)
}

// scan is the plan of a stream. What the way to the server holds is asked for at
// once, when it seems that it will be read: growing to that takes round trips.
func (p *pattern) scan(s *stream, off, n int64) plan {
	if w := &s.window; p.reach != nil && w.done >= leapAfter && s.count > 1 {
		w.size = max(w.size, min(p.reach(), w.most))
	}
	return s.plan(off, n, p.block)
}

// follow returns the stream that the request continues, if any; otherwise a new
// one begins.
func (p *pattern) follow(off, n int64) *stream {
	var near *stream
	for i := range p.streams {
		s := &p.streams[i]
		if s.hi == off && s.count > 0 {
			near = s
			break
		}
		if near == nil && s.near(off, n) {
			near = s
		}
	}
	if near != nil {
		near.add(off, n, p.clock)
		return near
	}
	s := p.replaced()
	*s = stream{lo: off, hi: off + n, biggest: n, count: 1, used: p.clock, start: p.clock == 1 && off == 0,
		window: window{size: min(firstWindow, p.most), most: p.most, grow: 1}}
	if s.start {
		return s
	}
	return nil
}

// replaced returns the stream to give up for a new one: the next that is no
// scan, or not any more.
func (p *pattern) replaced() *stream {
	for range p.streams {
		p.hand = (p.hand + 1) % len(p.streams)
		s := &p.streams[p.hand]
		if s.count < established || p.clock-s.used > patience {
			break
		}
	}
	return &p.streams[p.hand]
}

// stream is bytes that are read one after the other.
type stream struct {
	lo, hi  int64 // read, but for holes
	holes   int64 // bytes jumped over, that are to come yet
	biggest int64 // bytes of a request
	count   int   // requests that followed on, and the first
	used    int64 // clock of the last request
	start   bool  // it began with the reader's first request, at the start of the file
	window  window
}

// near reports whether a request can be one of an established stream that comes
// early or late.
func (s *stream) near(off, n int64) bool {
	if s.count < established && !s.start {
		return false
	}
	slack := max(s.biggest, n) * int64(min(s.count+1, outOfOrder))
	gap := off - s.hi
	return gap >= -slack && gap <= slack && s.holes+max(gap, 0) <= slack
}

// add notes a request that belongs to s.
func (s *stream) add(off, n, clock int64) {
	gap := off - s.hi
	switch {
	case gap > 0:
		s.holes += gap
	case gap < 0:
		s.holes = max(0, s.holes-n)
	}
	if gap == 0 || off+n > s.hi && gap < 0 {
		s.count++
	}
	s.hi = max(s.hi, off+n)
	s.biggest = max(s.biggest, n)
	s.used = clock
	s.window.done += n
}

// plan fetches whole spans: up to the end of the one that the request ends in,
// and ahead of it all that end within the window.
func (s *stream) plan(off, n, block int64) plan {
	span := s.window.span(block)
	end := (max(off+n, s.hi) + span - 1) / span * span
	p := plan{scan: true, from: off, to: (off + n + span - 1) / span * span,
		first: end, step: span, length: span, clip: end, window: &s.window}
	if s.window.upTo > end {
		p.first, p.clip = s.window.upTo/span*span, s.window.upTo
	}
	p.own = p.clip - s.hi
	p.count = max(0, (s.hi+s.window.size)/span*span-p.first) / span
	return p
}

// window is how much is fetched ahead of a scan. It begins small, so that the
// first bytes come soon, and grows by four and then by two while the reader has to
// wait for bytes all the same: over a long way to the server, much has to be on
// its way, and each time takes a round trip.
type window struct {
	size, most int64 // bytes
	done       int64 // bytes that the reader has read
	grow       int64 // of done, from where waiting shows that size is too little
	upTo       int64 // offset up to which all was fetched, in the direction of the scan
}

// waited notes that the reader had to wait.
func (w *window) waited() {
	if w.done < w.grow || w.size >= w.most {
		return
	}
	w.grow = w.done + w.size // what is on its way for the old size shows nothing
	if w.size < quickWindow {
		w.size *= 2
	}
	w.size = min(2*w.size, w.most)
}

// span returns how much is fetched at a time: several of them in the window.
func (w *window) span(block int64) int64 {
	span := min(leastFetch, block)
	for span < block && span*8 <= w.size {
		span *= 2
	}
	return span
}

// restart makes p fetch again what it has fetched.
func (p *pattern) restart() {
	p.strides.window.upTo = 0
	for i := range p.streams {
		p.streams[i].window.upTo = 0
	}
}

// random is what is known of requests that follow no pattern.
type random struct {
	grain  int64    // bytes, to multiples of which fetches are rounded
	places [8]int64 // of the last requests, in units of mostRandom
	at     int      // where in places the next one goes
	hits   int      // requests near another, since grain changed
	misses int      // requests near none, since the last that was
}

// mostRandom is what a fetch for a random reader is rounded to at most.
const mostRandom = 64 << 10

// plan rounds the request. Rounding grows while requests come close to one
// another, and shrinks while they do not.
func (r *random) plan(off, n int64) plan {
	r.grain = max(r.grain, pageSize)
	place, near := off/mostRandom+1, false
	for _, p := range r.places {
		near = near || p == place
	}
	r.places[r.at] = place
	r.at = (r.at + 1) % len(r.places)
	if near {
		r.hits, r.misses = r.hits+1, 0
	} else {
		r.misses++
	}
	switch {
	case r.hits >= 2:
		r.grain, r.hits = min(2*r.grain, mostRandom), 0
	case r.misses >= 4:
		r.grain, r.hits, r.misses = max(r.grain/2, pageSize), 0, 0
	}
	return plan{from: off / r.grain * r.grain, to: (off + n + r.grain - 1) / r.grain * r.grain}
}
