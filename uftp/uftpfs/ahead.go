package uftpfs

import "io"

const (
	// minAhead is the first piece of a reader who may want no more.
	minAhead = 128 << 10
	// depth is how many pieces are under way while one is read.
	depth = 2
)

// readAhead reads a file in pieces that double up to [pieceSize] as long as they
// are read in sequence, and the next ones before they are asked for. Its owner's
// mutex guards it.
type readAhead struct {
	file *File
	size int      // of the next piece to fetch
	cur  *piece   // what is being read
	next []*piece // under way, in sequence behind cur
	end  bool     // the reader was told the end of the file
	free [][]byte // pieces' memory for use
}

// piece is a range of the file, fetched or on its way.
type piece struct {
	off  int64
	buf  []byte
	n    int
	err  error
	done chan struct{}
}

// hurry is for a reader who wants everything.
func (r *readAhead) hurry() { r.size = pieceSize }

// at returns the bytes at off that are at hand, at least one, waiting for them if
// need be. At the end of the file, as it was known, it is io.EOF; who asks again
// gets what was added since.
func (r *readAhead) at(off int64) ([]byte, error) {
	if r.cur == nil || off < r.cur.off || off >= r.cur.off+int64(r.cur.n) {
		if err := r.turn(off); err != nil {
			return nil, err
		}
	}
	return r.cur.buf[off-r.cur.off : r.cur.n], nil
}

// turn makes the piece at off the current one, and fetches those behind it.
func (r *readAhead) turn(off int64) error {
	if err := r.endsAt(off); err != nil {
		return err
	}
	if len(r.next) == 0 || r.next[0].off != off {
		if r.cur != nil && r.cur.off+int64(r.cur.n) != off {
			r.size = 0 // not in sequence
		}
		r.drop()
		r.fetch(off)
	}
	r.recycle(r.cur)
	r.cur, r.next = r.next[0], r.next[1:]
	for r.size > minAhead && len(r.next) < depth {
		last := r.cur
		if len(r.next) > 0 {
			last = r.next[len(r.next)-1]
		}
		if !r.fetch(last.off + int64(len(last.buf))) {
			break
		}
	}
	<-r.cur.done
	if r.cur.n < len(r.cur.buf) {
		return r.short(off)
	}
	r.size = min(max(2*r.size, 2*minAhead), pieceSize)
	return nil
}

// endsAt is io.EOF at the end of the file, and the reason where a piece ended
// early.
func (r *readAhead) endsAt(off int64) error {
	f := r.file
	if r.cur != nil && r.cur.n < len(r.cur.buf) && off == r.cur.off+int64(r.cur.n) {
		return r.short(off)
	}
	if off < f.info.Size {
		r.end = false
		return nil
	}
	if !r.end {
		r.end = true
		return io.EOF
	}
	if err := f.refresh(); err != nil {
		return err
	}
	if off >= f.info.Size {
		return io.EOF
	}
	r.end = false
	return nil
}

// short is what to say of a current piece with fewer bytes than asked for: first
// nothing, as long as there are some at off, and then why.
func (r *readAhead) short(off int64) error {
	c := r.cur
	if off < c.off+int64(c.n) {
		return nil
	}
	r.drop()
	if c.err == nil || c.err == io.EOF { //nolint:errorlint // exactly io.EOF, as ReaderAt has it
		return io.ErrUnexpectedEOF // the file is shorter than we know it to be
	}
	return c.err
}

// fetch starts to read the piece at off, unless the file ends before.
func (r *readAhead) fetch(off int64) bool {
	f := r.file
	n := min(int64(max(r.size, minAhead)), f.info.Size-off)
	if n <= 0 {
		return false
	}
	p := &piece{off: off, buf: r.memory(int(n)), done: make(chan struct{})}
	r.next = append(r.next, p)
	f.transfer.Go(func() {
		defer close(p.done)
		p.n, p.err = f.fs.client.ReadAt(f.ctx, f.path, p.buf, off)
	})
	return true
}

// memory returns n bytes.
func (r *readAhead) memory(n int) []byte {
	for i, b := range r.free {
		if cap(b) >= n {
			r.free[i] = r.free[len(r.free)-1]
			r.free = r.free[:len(r.free)-1]
			return b[:n]
		}
	}
	return make([]byte, n)
}

// recycle keeps the memory of a piece that nobody reads any more.
func (r *readAhead) recycle(p *piece) {
	if p != nil && cap(p.buf) > minAhead && len(r.free) < depth {
		r.free = append(r.free, p.buf)
	}
}

// drop forgets what was read. Pieces under way end unseen.
func (r *readAhead) drop() {
	r.cur, r.next = nil, nil
}
