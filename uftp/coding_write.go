package uftp

import (
	"bufio"
	"compress/gzip"
	"crypto/cipher"
	"encoding/binary"
	"io"
)

// encoder is the way into the streams of an upload. Close ends the layers, not
// the connections.
type encoder struct {
	io.Writer
	layers []io.Closer // in the order in which they end
}

// Close implements [io.Closer].
func (e *encoder) Close() error {
	for _, l := range e.layers {
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// encoder returns the way into the streams.
func (c *codec) encoder(streams []io.Writer) (*encoder, error) {
	e := &encoder{}
	tops := make([]io.Writer, len(streams))
	for i, w := range streams {
		buf := bufio.NewWriterSize(w, 256<<10)
		layers := []io.Closer{flusher{buf}}
		w = buf
		if c.algorithm != "" {
			mode, _, err := c.ciphers()
			if err != nil {
				return nil, err
			}
			enc := &encrypter{to: w, mode: mode}
			layers = append([]io.Closer{enc}, layers...)
			w = enc
		}
		if c.compress {
			z := gzip.NewWriter(w)
			layers = append([]io.Closer{z}, layers...)
			w = z
		}
		tops[i] = w
		e.layers = append(e.layers, layers...)
	}
	e.Writer = tops[0]
	if len(tops) > 1 {
		e.Writer = &splitter{streams: tops}
	}
	return e, nil
}

type flusher struct{ *bufio.Writer }

func (f flusher) Close() error { return f.Flush() }

// encrypter encrypts a stream and pads its end.
type encrypter struct {
	to   io.Writer
	mode cipher.BlockMode
	rest []byte // less than a block
	buf  []byte
}

func (e *encrypter) Write(p []byte) (int, error) {
	e.buf = append(append(e.buf[:0], e.rest...), p...)
	whole := len(e.buf) - len(e.buf)%e.mode.BlockSize()
	e.rest = append(e.rest[:0], e.buf[whole:]...)
	e.mode.CryptBlocks(e.buf[:whole], e.buf[:whole])
	if _, err := e.to.Write(e.buf[:whole]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes the padded last block.
func (e *encrypter) Close() error {
	pad := e.mode.BlockSize() - len(e.rest)
	last := append([]byte(nil), e.rest...)
	for range pad {
		last = append(last, byte(pad)) //nolint:gosec // at most a block
	}
	e.mode.CryptBlocks(last, last)
	_, err := e.to.Write(last)
	return err
}

// splitter splits groups over the streams.
type splitter struct {
	streams []io.Writer
	seq     uint32
}

func (s *splitter) Write(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		group := p[:min(groupSize, len(p))]
		if err := s.group(group); err != nil {
			return sent, err
		}
		sent += len(group)
		p = p[len(group):]
	}
	return sent, nil
}

func (s *splitter) group(data []byte) error {
	share := len(data) / len(s.streams)
	for i, w := range s.streams {
		part := data[i*share:]
		if i < len(s.streams)-1 {
			part = part[:share]
		}
		var h [frameHeader]byte
		binary.BigEndian.PutUint16(h[:], frameMagic)
		binary.BigEndian.PutUint16(h[2:], uint16(i))
		binary.BigEndian.PutUint32(h[4:], s.seq)
		binary.BigEndian.PutUint32(h[8:], uint32(len(data)))  //nolint:gosec // at most groupSize
		binary.BigEndian.PutUint32(h[12:], uint32(len(part))) //nolint:gosec // at most groupSize
		if _, err := w.Write(h[:]); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	s.seq++
	return nil
}

// lastRead divides how much servers read at once: 1 MiB, or 64 KiB before 3.5.3.
const lastRead = 64 << 10

// tailLen is how much of an unlucky upload is sent in an upload of its own: more
// than a block, less than would be unlucky again.
const tailLen = 64

// unlucky reports whether the ciphertext of n bytes would end where the server's
// read does. It then takes the padding for data.
func (c *codec) unlucky(n int64) bool {
	if c.algorithm == "" || c.compress { // what follows a gzip stream is ignored
		return false
	}
	size := int64(blowfishBlock)
	if c.algorithm == EncryptionAES {
		size = aesBlock
	}
	return (n/size+1)*size%lastRead == 0
}

const (
	blowfishBlock = 8
	aesBlock      = 16
)
