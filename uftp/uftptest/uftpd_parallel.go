package uftptest

import "encoding/binary"

const (
	frameMagic  = 0xcebf
	frameHeader = 16
)

// A frame is the header of a part of a group. Each group of bytes is split over
// all streams.
type frame struct {
	magic, index uint16
	seq          uint32 // number of the group
	total        uint32 // bytes in the group, on all streams
	part         uint32 // bytes of it that follow here
}

func (f frame) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, f.magic)
	b = binary.BigEndian.AppendUint16(b, f.index)
	b = binary.BigEndian.AppendUint32(b, f.seq)
	b = binary.BigEndian.AppendUint32(b, f.total)
	return binary.BigEndian.AppendUint32(b, f.part)
}

func parseFrame(b []byte) (frame, error) {
	if len(b) != frameHeader {
		return frame{}, raise("unpack requires a buffer of %d bytes", frameHeader)
	}
	return frame{
		magic: binary.BigEndian.Uint16(b),
		index: binary.BigEndian.Uint16(b[2:]),
		seq:   binary.BigEndian.Uint32(b[4:]),
		total: binary.BigEndian.Uint32(b[8:]),
		part:  binary.BigEndian.Uint32(b[12:]),
	}, nil
}

// check says whether f is the next part of stream i, in the words of the real one.
func (f frame) check(i int, seq uint32) error {
	switch {
	case int(f.index) != i:
		return raise("not all arguments converted during string formatting")
	case f.magic != frameMagic:
		return raise("I/O error reader %d (magic number)", i)
	case f.seq != seq:
		return raise("I/O error reader %d (sequence number)", i)
	}
	return nil
}

// A parallel stream is made of several connections, each with decoders of its own.
type parallel struct {
	conns []*dataConn
	parts []partStream
	seq   uint32
}

// A partStream is one connection's reader and writer.
type partStream struct {
	read  func(int) ([]byte, error)
	write func([]byte) error
	flush func() error
}

func newParallel(conns []*dataConn, o *options) (*parallel, error) {
	p := &parallel{conns: conns}
	for _, c := range conns {
		var st stream = c
		if o.encrypted() {
			enc, err := newCrypted(c, o.key, o.algo)
			if err != nil {
				return nil, err
			}
			st = enc
		}
		part := partStream{st.read, st.write, func() error { return nil }}
		if o.compress {
			r, w := &gzipReader{src: feed{from: st}}, newGzipWriter(st)
			part = partStream{r.read, w.write, w.flush}
		}
		p.parts = append(p.parts, part)
	}
	return p, nil
}

func (p *parallel) write(data []byte) error {
	n := len(p.parts)
	share := len(data) / n
	for i, part := range p.parts {
		piece := data[i*share:]
		if i < n-1 {
			piece = piece[:share]
		}
		f := frame{frameMagic, uint16(i), p.seq, uint32(len(data)), uint32(len(piece))} //nolint:gosec // few streams, small groups
		if err := part.write(append(f.append(nil), piece...)); err != nil {
			return err
		}
		if err := part.flush(); err != nil {
			return err
		}
	}
	p.seq++
	return nil
}

// read returns one group, whatever its size is: groups larger than asked for
// come whole. Missing bytes at a stream's end shift what follows them.
func (p *parallel) read(n int) ([]byte, error) {
	buf := make([]byte, n)
	total := 0
	for i, part := range p.parts {
		header, err := readBlock(part, frameHeader)
		if err != nil {
			return nil, err
		}
		if len(header) == 0 {
			return nil, nil
		}
		f, err := parseFrame(header)
		if err != nil {
			return nil, err
		}
		if err := f.check(i, p.seq); err != nil {
			return nil, err
		}
		total = int(f.total)
		offset := int(f.index) * (total / len(p.parts))
		piece, err := part.read(int(f.part))
		if err != nil {
			return nil, err
		}
		buf = splice(buf, offset, int(f.part), piece)
	}
	p.seq++
	return buf[:min(total, len(buf))], nil
}

// readBlock reads n bytes, or fewer at the end.
func readBlock(part partStream, n int) ([]byte, error) {
	var block []byte
	for len(block) < n {
		piece, err := part.read(n - len(block))
		if err != nil {
			return nil, err
		}
		if len(piece) == 0 {
			break
		}
		block = append(block, piece...)
	}
	return block, nil
}

// splice is "buf[offset:offset+n] = piece" in Python: the slice need not be as
// long as what replaces it.
func splice(buf []byte, offset, n int, piece []byte) []byte {
	lo := min(offset, len(buf))
	hi := min(lo+n, len(buf))
	if hi-lo == len(piece) {
		copy(buf[lo:hi], piece)
		return buf
	}
	out := append([]byte(nil), buf[:lo]...)
	out = append(out, piece...)
	return append(out, buf[hi:]...)
}

func (p *parallel) close() {
	for _, c := range p.conns {
		c.close()
	}
}
