package uftptest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/blowfish" //nolint:staticcheck // deprecated, but what UFTP has
)

// A crypted stream encrypts a whole connection as one message: padding comes
// once, when the writer is closed. Reader and writer each start from the IV.
type crypted struct {
	stream
	writing bool // no read yet, so that close pads
	writer  cryptWriter
	reader  cryptReader
}

func newCrypted(to stream, key []byte, algo string) (*crypted, error) {
	encrypt, decrypt, err := newCiphers(key, algo)
	if err != nil {
		return nil, err
	}
	return &crypted{
		stream:  to,
		writing: true,
		writer:  cryptWriter{to: to, mode: encrypt},
		reader:  cryptReader{from: to, mode: decrypt},
	}, nil
}

func (c *crypted) write(p []byte) error { return c.writer.write(p) }

func (c *crypted) read(n int) ([]byte, error) {
	c.writing = false
	return c.reader.read(n)
}

func (c *crypted) close() {
	if c.writing {
		_ = c.writer.finish()
	}
	c.stream.close()
}

// newCiphers makes the two directions of a cipher from a key as the client sent it.
func newCiphers(key []byte, algo string) (encrypt, decrypt cipher.BlockMode, err error) {
	switch algo {
	case "BLOWFISH":
		if len(key) > 56 {
			return nil, nil, raise("Key length must <=56 for encryption algorithm: %s", algo)
		}
		block, err := blowfish.NewCipher(key)
		if err != nil || len(key) < 4 {
			return nil, nil, raise("Incorrect Blowfish key length (%d bytes)", len(key))
		}
		return ecb{block, block.Encrypt}, ecb{block, block.Decrypt}, nil
	case "AES":
		if len(key) < 32 {
			return nil, nil, raise("Key length must be >32 for encryption algorithm: %s", algo)
		}
		block, err := aes.NewCipher(key[aes.BlockSize:])
		if err != nil {
			return nil, nil, raise("Illegal key length for encryption algorithm: %s", algo)
		}
		iv := key[:aes.BlockSize]
		return cipher.NewCBCEncrypter(block, iv), cipher.NewCBCDecrypter(block, iv), nil
	}
	return nil, nil, raise("Unknown encryption algorithm: %s", algo)
}

// ecb applies a block cipher to each block alone.
type ecb struct {
	cipher.Block
	apply func(dst, src []byte)
}

// CryptBlocks implements [cipher.BlockMode].
func (e ecb) CryptBlocks(dst, src []byte) {
	for n := e.BlockSize(); len(src) > 0; dst, src = dst[n:], src[n:] {
		e.apply(dst[:n], src[:n])
	}
}

// A cryptWriter holds back what does not fill a block.
type cryptWriter struct {
	to     stream
	mode   cipher.BlockMode
	stored []byte
	done   bool
}

func (w *cryptWriter) write(p []byte) error {
	data := append(w.stored, p...)
	whole := len(data) - len(data)%w.mode.BlockSize()
	w.stored = bytes.Clone(data[whole:])
	out := make([]byte, whole)
	w.mode.CryptBlocks(out, data[:whole])
	return w.to.write(out)
}

// finish writes the padded last block.
func (w *cryptWriter) finish() error {
	if w.done {
		return nil
	}
	w.done = true
	pad := w.mode.BlockSize() - len(w.stored)
	return w.write(bytes.Repeat([]byte{byte(pad)}, pad)) //nolint:gosec // at most a block
}

// A cryptReader takes a short read for the end of the stream, and removes the
// padding there. An end that falls on the end of a read it does not see: then
// the padding comes out as data.
type cryptReader struct {
	from   stream
	mode   cipher.BlockMode
	stored []byte
}

func (r *cryptReader) read(n int) ([]byte, error) {
	size := r.mode.BlockSize()
	data, err := r.from.read(max(n, size))
	if err != nil {
		return nil, err
	}
	finish := len(data) < n
	data = append(bytes.Clone(r.stored), data...)
	extra := len(data) % size
	r.stored = nil
	switch {
	case extra > 0 && len(data) < size:
		return nil, r.unaligned()
	case extra > 0:
		r.stored = bytes.Clone(data[len(data)-extra:])
		data = data[:len(data)-extra]
		finish = false
	}
	r.mode.CryptBlocks(data, data)
	if finish && len(data) > 0 {
		pad := int(data[len(data)-1])
		if pad == 0 || pad > len(data) {
			pad = len(data)
		}
		data = data[:len(data)-pad]
	}
	return data, nil
}

func (r *cryptReader) unaligned() error {
	if r.mode.BlockSize() == aes.BlockSize {
		return raise("Data must be padded to 16 byte boundary in CBC mode")
	}
	return raise("Data must be aligned to block boundary in ECB mode")
}
