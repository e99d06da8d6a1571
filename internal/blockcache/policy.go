package blockcache

import "time"

// mostSpent bounds what scans leave behind of files that cannot stay as a whole,
// for others who come soon behind them, in bytes.
const mostSpent = 16 << 20

// staleAhead is for how long bytes that were fetched ahead wait for their
// reader before others may have their memory.
const staleAhead = 2 * time.Second

// policy says what leaves the cache: a segmented LRU (Karedla et al., 1994)
// with two more segments, for what scans leave behind and for what is ahead of
// them. A plain LRU, S3-FIFO or TinyLFU would have to learn from use what the
// readers tell us: that a scan is done with bytes, which the kernel has in its
// page cache from then on anyway.
//
// The caller has the lock.
type policy struct {
	budget    int64
	scanned   int64 // bytes of the files of which something is ahead of a reader
	spent     list  // read by scans to the last byte
	probation list  // read, or fetched and not all read
	protected list  // read again by others than scans
	ahead     list  // landed, and nobody has read any of it
}

// touch notes that n bytes of r are read, by a scan or not.
func (p *policy) touch(r *run, n int64, scan bool) {
	again := r.read
	r.read = true
	if r.list == &p.spent {
		r.left = int64(len(r.buf)) // another scan begins on it
	}
	if scan {
		r.left -= n
	}
	switch {
	case r.list == nil: // in flight: see place
	case r.list == &p.protected || again && !scan:
		p.protected.push(r)
		for p.protected.bytes > p.budget*3/4 && p.protected.last() != r {
			p.probation.push(p.protected.last())
		}
	case r.left <= 0:
		p.spent.push(r)
	default:
		p.probation.push(r)
	}
}

// place lists r, which has landed.
func (p *policy) place(r *run) {
	switch {
	case r.ahead:
		r.land = time.Now().UnixNano()
		p.ahead.push(r)
	case r.left <= 0:
		p.spent.push(r)
	default:
		p.probation.push(r)
	}
}

// victim returns what is to leave next, or nil. For the sake of bytes ahead of
// a scan, none that others use and none that are ahead of another leave.
func (p *policy) victim(ahead bool) *run {
	if r := p.spent.oldest(); r != nil {
		return r
	}
	if r := p.forgotten(); r != nil {
		return r
	}
	if r := p.probation.oldest(); r != nil {
		return r
	}
	if p.protected.bytes > p.budget/2 {
		if r := p.protected.oldest(); r != nil {
			return r
		}
	}
	if ahead {
		return nil
	}
	if r := p.ahead.oldest(); r != nil {
		return r
	}
	return p.protected.oldest()
}

// surplus returns a run that is to leave although there is room, or nil: of a
// file that scans would push out of the cache themselves before another came to its
// beginning, the scan of it or all that go on beside it. Memory that was just used
// is still in the processor's caches, and
// mapped, and so takes the bytes of the next fetch faster than any other.
func (p *policy) surplus() *run {
	if p.spent.bytes <= mostSpent {
		return nil
	}
	if r := p.spent.oldest(); r != nil && max(r.key.Version.Size, p.scanned) > p.budget*3/4 {
		return r
	}
	return nil
}

// forgotten returns a run whose reader should have come long ago, if there is
// one.
func (p *policy) forgotten() *run {
	if r := p.ahead.oldest(); r != nil && time.Now().UnixNano()-r.land > int64(staleAhead) {
		return r
	}
	return nil
}

// list is runs in the order of their last use. A run is in one at most.
type list struct {
	root  run // root.next was used last, root.prev longest ago
	bytes int64
}

func (l *list) init() { l.root.next, l.root.prev = &l.root, &l.root }

// push puts r first, taking it out of the list that it is in.
func (l *list) push(r *run) {
	if r.list != nil {
		r.list.remove(r)
	}
	r.list = l
	r.prev, r.next = &l.root, l.root.next
	r.prev.next, r.next.prev = r, r
	l.bytes += int64(cap(r.buf))
}

func (l *list) remove(r *run) {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next, r.list = nil, nil, nil
	l.bytes -= int64(cap(r.buf))
}

// last returns the run that was used longest ago.
func (l *list) last() *run { return l.root.prev }

// oldest returns the run that was used longest ago of those that are not in
// use, or nil.
func (l *list) oldest() *run {
	for r := l.root.prev; r != &l.root; r = r.prev {
		if r.state.Load() == 0 {
			return r
		}
	}
	return nil
}
