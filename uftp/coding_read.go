package uftp

import (
	"bufio"
	"compress/gzip"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// decoder returns what was put into the streams at the other end. Each layer ends
// with io.EOF only where the transfer ends as it should.
func (c *codec) decoder(streams []io.Reader) (io.Reader, error) {
	for i, r := range streams {
		r = bufio.NewReaderSize(r, 256<<10)
		if c.algorithm != "" {
			_, mode, err := c.ciphers()
			if err != nil {
				return nil, err
			}
			r = &decrypter{from: r, mode: mode}
		}
		if c.compress {
			r = &gunzipper{from: r, open: len(streams) > 1}
		}
		streams[i] = r
	}
	if len(streams) > 1 {
		return &joiner{streams: streams}, nil
	}
	return streams[0], nil
}

// decrypter decrypts a stream and removes the padding at its end.
type decrypter struct {
	from   io.Reader
	mode   cipher.BlockMode
	buf    []byte // memory
	out    []byte // decrypted
	in     []byte // not yet decrypted: less than a block, and the last block
	atEnd  bool
	failed error
}

func (d *decrypter) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		switch {
		case d.failed != nil:
			return 0, d.failed
		case d.atEnd:
			return 0, io.EOF
		}
		d.fill()
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// fill decrypts what can be, but for the last block, which may be padding.
func (d *decrypter) fill() {
	if d.buf == nil {
		d.buf = make([]byte, 64<<10)
	}
	have := copy(d.buf, d.in)
	n, err := d.from.Read(d.buf[have:])
	data, size := d.buf[:have+n], d.mode.BlockSize()
	if errors.Is(err, io.EOF) {
		if len(data) == 0 || len(data)%size != 0 {
			d.failed = fmt.Errorf("encrypted stream: %w", io.ErrUnexpectedEOF)
			return
		}
		d.mode.CryptBlocks(data, data)
		pad := int(data[len(data)-1])
		if pad < 1 || pad > size {
			d.failed = fmt.Errorf("%w: encrypted stream ends without padding", ErrProtocol)
			return
		}
		d.out, d.in, d.atEnd = data[:len(data)-pad], nil, true
		return
	}
	if err != nil {
		d.failed = err
		return
	}
	whole := max(0, len(data)-1) / size * size // leaves at least one byte
	d.in = append([]byte(nil), data[whole:]...)
	d.mode.CryptBlocks(data[:whole], data[:whole])
	d.out = data[:whole]
}

// gunzipper decompresses a stream. Parallel ones end without gzip's trailer: open.
type gunzipper struct {
	from io.Reader
	open bool
	z    *gzip.Reader
}

func (g *gunzipper) Read(p []byte) (int, error) {
	if g.z == nil {
		z, err := gzip.NewReader(g.from)
		if errors.Is(err, io.EOF) && !g.open { // there is no stream at all
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, g.ended(err)
		}
		z.Multistream(false)
		g.z = z
	}
	n, err := g.z.Read(p)
	return n, g.ended(err)
}

// ended says what the end of a stream means.
func (g *gunzipper) ended(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	case g.open && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)):
		return io.EOF
	}
	return err
}

const (
	frameMagic  = 0xcebf
	frameHeader = 16
	// groupSize is the most that receivers have room for.
	groupSize = 16384
)

// joiner puts the groups together that are split over streams.
type joiner struct {
	streams []io.Reader
	seq     uint32
	buf     [groupSize]byte
	out     []byte
}

func (j *joiner) Read(p []byte) (int, error) {
	if len(j.out) == 0 {
		if err := j.group(); err != nil {
			return 0, err
		}
	}
	n := copy(p, j.out)
	j.out = j.out[n:]
	return n, nil
}

// group reads the next group. The end of the data is the end of all streams, all
// before a group.
func (j *joiner) group() error {
	var header [frameHeader]byte
	got, total := 0, 0
	for i, r := range j.streams {
		_, err := io.ReadFull(r, header[:])
		switch {
		case i == 0 && err == io.EOF: // nothing was read
			return j.ends()
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		magic, index := binary.BigEndian.Uint16(header[:]), binary.BigEndian.Uint16(header[2:])
		seq, part := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[12:])
		sum := binary.BigEndian.Uint32(header[8:])
		if i == 0 {
			total = int(min(sum, groupSize+1))
		}
		if magic != frameMagic || int(index) != i || seq != j.seq || int64(sum) != int64(total) ||
			total > groupSize || int64(part) > int64(total-got) {
			return fmt.Errorf("%w: stream %d is out of step", ErrProtocol, i)
		}
		if _, err := io.ReadFull(r, j.buf[got:got+int(part)]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		got += int(part)
	}
	if got != total || total == 0 {
		return fmt.Errorf("%w: the parts of a group have %d bytes of %d", ErrProtocol, got, total)
	}
	j.seq++
	j.out = j.buf[:total]
	return nil
}

// ends checks that all streams are at their ends.
func (j *joiner) ends() error {
	for _, r := range j.streams[1:] {
		if err := atEnd(r); err != nil {
			return err
		}
	}
	return io.EOF
}

// atEnd is nil if r has nothing more, and ended well.
func atEnd(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("%w: more data than announced", ErrProtocol)
	case err == io.EOF:
		return nil
	}
	return err
}
