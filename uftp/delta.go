package uftp

import (
	"bufio"
	"crypto/md5" //nolint:gosec // the protocol's checksum; the result is checked with another hash
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The rsync algorithm as UFTP has it. The follower, who has an old copy, sends
// the checksums of its blocks; the leader answers with literal bytes and indexes
// of blocks to put behind them.

const (
	minDeltaBlock = 512
	maxDeltaBlock = 1 << 20
	// literalPiece is the longest literal that uftpd reads right unless the length
	// is a multiple of it: it reads pieces of this size, the last one, too.
	literalPiece = 64 << 10
	deltaEnd     = -1 // the index behind the last literal
)

// block is what identifies a block of the follower's.
type block struct {
	index  int
	strong [md5.Size]byte
}

// blocks are the follower's, by weak checksum.
type blocks struct {
	size   int64 // of all but the last one
	count  int
	byWeak map[uint32][]block
}

// rolling is the weak checksum of a block.
type rolling struct{ a, b uint32 }

func (r *rolling) add(p []byte, left int64) int64 {
	for _, c := range p {
		r.a += uint32(c)
		r.b += uint32(left) * uint32(c) //nolint:gosec // modulo 2^16 in the end
		left--
	}
	return left
}

// roll moves a block of n bytes on by one.
func (r *rolling) roll(n int64, out, in byte) {
	r.a += uint32(in) - uint32(out)
	r.b += r.a - uint32(n)*uint32(out) //nolint:gosec // modulo 2^16 in the end
}

func (r rolling) sum() uint32 { return r.a&0xffff | r.b<<16 }

// sums returns both checksums of n bytes at off.
func sums(src io.ReaderAt, off, n int64, buf []byte) (weak rolling, strong [md5.Size]byte, err error) {
	h := md5.New() //nolint:gosec // see above
	for left := n; left > 0; {
		p := buf[:min(int64(len(buf)), left)]
		if err := readAt(src, p, off); err != nil {
			return weak, strong, err
		}
		weak.add(p, left)
		_, _ = h.Write(p)
		off += int64(len(p))
		left -= int64(len(p))
	}
	return weak, [md5.Size]byte(h.Sum(nil)), nil
}

// readAt reads all of p. A source that ends early changed meanwhile.
func readAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// deltaBlock chooses the block size for files of these sizes.
func deltaBlock(size int64) int64 { return min(max(size/1000, minDeltaBlock), maxDeltaBlock) }

// sendSums sends the checksums of an old copy.
func sendSums(w io.Writer, old io.ReaderAt, oldSize, size int64) error {
	out := bufio.NewWriterSize(w, 64<<10)
	count := (oldSize + size - 1) / size
	head := binary.BigEndian.AppendUint32(nil, uint32(size))  //nolint:gosec // at most maxDeltaBlock
	head = binary.BigEndian.AppendUint32(head, uint32(count)) //nolint:gosec // checked by the caller
	_, _ = out.Write(head)                                    // Flush tells
	buf := make([]byte, 64<<10)
	for off := int64(0); off < oldSize; off += size {
		weak, strong, err := sums(old, off, min(size, oldSize-off), buf)
		if err != nil {
			return &final{fmt.Errorf("read old copy: %w", err)}
		}
		_, _ = out.Write(binary.BigEndian.AppendUint64(nil, uint64(weak.sum())))
		_, _ = out.Write(strong[:])
	}
	return out.Flush()
}

// readSums reads the checksums of the other side's old copy.
func readSums(r io.Reader) (*blocks, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size, count := int64(binary.BigEndian.Uint32(head[:])), int64(binary.BigEndian.Uint32(head[4:]))
	const most = 1 << 20 // the server makes a thousand, or few more
	if size == 0 || count > most {
		return nil, fmt.Errorf("%w: %d checksums of blocks of %d bytes", ErrProtocol, count, size)
	}
	b := &blocks{size: size, count: int(count), byWeak: make(map[uint32][]block, count)}
	var entry [8 + md5.Size]byte
	for i := range b.count {
		if _, err := io.ReadFull(r, entry[:]); err != nil {
			return nil, err
		}
		weak := uint32(binary.BigEndian.Uint64(entry[:])) //nolint:gosec // it has 32 bits
		b.byWeak[weak] = append(b.byWeak[weak], block{i, [md5.Size]byte(entry[8:])})
	}
	return b, nil
}

// window reads single bytes in order.
type window struct {
	src  io.ReaderAt
	size int64
	buf  [32 << 10]byte
	off  int64
	n    int64
}

func (w *window) at(pos int64) (byte, error) {
	if pos < w.off || pos >= w.off+w.n {
		w.off, w.n = pos, min(int64(len(w.buf)), w.size-pos)
		if err := readAt(w.src, w.buf[:w.n], pos); err != nil {
			w.n = 0
			return 0, err
		}
	}
	return w.buf[pos-w.off], nil
}

// deltaWriter writes what the follower lacks.
type deltaWriter struct {
	to    *bufio.Writer
	src   io.ReaderAt
	size  int64
	old   *blocks
	sent  int64 // up to there the follower has it
	stats SyncStats
	buf   []byte
}

// run looks for the follower's blocks at every offset of the source. A last block
// that is shorter is not looked for: it is a thousandth of the file.
func (d *deltaWriter) run() error {
	out, in := window{src: d.src, size: d.size}, window{src: d.src, size: d.size}
	d.buf = make([]byte, literalPiece)
	n := d.old.size
	weak, fresh := rolling{}, true
	for k := int64(0); k+n <= d.size && d.old.count > 0; {
		var err error
		if fresh {
			if weak, _, err = sums(d.src, k, n, d.buf); err != nil {
				return err
			}
		}
		index, err := d.find(weak, k)
		if err != nil {
			return err
		}
		if fresh = index >= 0; fresh {
			if err := d.literal(k, index); err != nil {
				return err
			}
			k += n
			d.sent = k
			d.stats.Matched += n
			continue
		}
		if k+n == d.size {
			break
		}
		gone, err := out.at(k)
		if err != nil {
			return err
		}
		next, err := in.at(k + n)
		if err != nil {
			return err
		}
		weak.roll(n, gone, next)
		k++
	}
	if err := d.literal(d.size, deltaEnd); err != nil {
		return err
	}
	return d.to.Flush()
}

// find returns the index of the follower's block that is the one at k, or -1.
func (d *deltaWriter) find(weak rolling, k int64) (int, error) {
	candidates := d.old.byWeak[weak.sum()]
	if len(candidates) == 0 {
		return -1, nil
	}
	_, strong, err := sums(d.src, k, d.old.size, d.buf)
	if err != nil {
		return -1, err
	}
	for _, c := range candidates {
		if c.strong == strong {
			return c.index, nil
		}
	}
	return -1, nil
}

// literal sends the bytes up to end, and the index of the block behind them. More
// than a piece goes as two literals, with an empty block between them: the server
// reads no other lengths right.
func (d *deltaWriter) literal(end int64, index int) error {
	if n := end - d.sent; n > literalPiece && n%literalPiece != 0 {
		if err := d.one(d.sent+n-n%literalPiece, d.old.count); err != nil {
			return err
		}
	}
	return d.one(end, index)
}

func (d *deltaWriter) one(end int64, index int) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(index))      //nolint:gosec // -1 is all ones
	head = binary.BigEndian.AppendUint64(head, uint64(end-d.sent)) //nolint:gosec // not negative
	if _, err := d.to.Write(head); err != nil {
		return lost(err)
	}
	for d.sent < end {
		p := d.buf[:min(int64(len(d.buf)), end-d.sent)]
		if err := readAt(d.src, p, d.sent); err != nil {
			return err
		}
		if _, err := d.to.Write(p); err != nil {
			return lost(err)
		}
		d.sent += int64(len(p))
		d.stats.Sent += int64(len(p))
	}
	return nil
}

// deltaReader puts a new copy together from an old one and what the leader sends.
type deltaReader struct {
	from    *bufio.Reader
	old     io.ReaderAt
	oldSize int64
	size    int64 // of blocks
	to      io.Writer
	stats   SyncStats
}

func (d *deltaReader) run() error {
	for {
		var head [12]byte
		if _, err := io.ReadFull(d.from, head[:]); err != nil {
			return lost(err)
		}
		index, n := int64(int32(binary.BigEndian.Uint32(head[:]))), int64(binary.BigEndian.Uint64(head[4:])) //nolint:gosec // -1 is all ones
		if n < 0 || index < deltaEnd {
			return fmt.Errorf("%w: literal of %d bytes before block %d", ErrProtocol, n, index)
		}
		got, err := d.copy(d.from, n)
		d.stats.Sent += got
		if err != nil || index == deltaEnd {
			return err
		}
		start := min(index*d.size, d.oldSize)
		n = min(d.size, d.oldSize-start)
		got, err = d.copy(io.NewSectionReader(d.old, start, n), n)
		d.stats.Matched += got
		if err != nil {
			return err
		}
	}
}

// copy writes n bytes and tells a failure of the writer, which is not the server's.
func (d *deltaReader) copy(from io.Reader, n int64) (int64, error) {
	w := &countingWriter{w: d.to}
	_, err := io.CopyN(w, from, n)
	switch {
	case w.err != nil:
		return w.n, &final{fmt.Errorf("write new copy: %w", w.err)}
	case err != nil:
		return w.n, lost(err)
	}
	return w.n, nil
}

type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
