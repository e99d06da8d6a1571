package uftp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/blowfish" //nolint:staticcheck // deprecated, but what UFTP has
)

// Data connections can be encrypted, compressed, or made of several TCP streams.
// All of that is asked for with the one-time password, except the number of
// streams, which NOOP n asks for before each transfer. The layers of a stream
// are, from the file to the network: groups split over the streams, gzip, cipher.
//
// What uftpd gets wrong in these modes decides how they are used here:
//
//   - A kept data connection ends with a transfer, or carries on badly: each
//     transfer opens its own.
//   - Listings over a data connection are empty: STAT N is used.
//   - Encrypted downloads over several streams lose their tails, uploads shift
//     bytes: the two do not go together, and [New] says so.
//   - An encrypted upload whose ciphertext fills the server's last read gets its
//     padding written into the file: it is sent in two parts, see unlucky.
//   - Announced counts do not end compressed or encrypted uploads: the end of the
//     connection does.

// Encryption of data connections, for [Config]. The cipher runs without any
// protection of integrity, and Blowfish block by block: it hides data from who
// happens to see it, not from an attacker. AES is the better of the two.
const (
	EncryptionAES      = "AES"
	EncryptionBlowfish = "BLOWFISH"
)

// Lengths of the keys that clients make, in bytes: initialisation vector and
// AES-256, or Blowfish's longest.
const (
	aesKeyLen      = aes.BlockSize + 32
	blowfishKeyLen = 56
)

// coding is how data connections are used. The zero value is plain.
type coding struct {
	streams   int    // wanted; 0 and 1 are one
	algorithm string // "", EncryptionAES or EncryptionBlowfish
	compress  bool
}

func newCoding(cfg Config) (coding, error) {
	c := coding{streams: max(cfg.Streams, 1), algorithm: strings.ToUpper(cfg.Encryption), compress: cfg.Compress}
	switch {
	case c.algorithm != "" && c.algorithm != EncryptionAES && c.algorithm != EncryptionBlowfish:
		return c, fmt.Errorf("%w: encryption must be %s or %s", fs.ErrInvalid, EncryptionAES, EncryptionBlowfish)
	case cfg.Streams < 0:
		return c, fmt.Errorf("%w: negative number of streams", fs.ErrInvalid)
	case c.algorithm != "" && c.streams > 1:
		return c, fmt.Errorf("%w: servers lose bytes when encryption and several streams go together; several sessions do no harm", fs.ErrInvalid)
	case cfg.Login != nil && c.algorithm != "":
		return c, checkEncryption(c.algorithm, len(cfg.EncryptionKey))
	}
	return c, nil
}

func (c coding) plain() bool { return c.streams <= 1 && c.algorithm == "" && !c.compress }

// newKey invents the key for an authentication; "" without encryption.
func (c coding) newKey() Secret {
	var key []byte
	switch c.algorithm {
	case EncryptionAES:
		key = make([]byte, aesKeyLen)
	case EncryptionBlowfish:
		key = make([]byte, blowfishKeyLen)
	}
	_, _ = rand.Read(key) // never fails
	return Secret(key)
}

// codec is a session's coding with what it needs; nil is plain.
type codec struct {
	coding
	key     []byte
	granted int // streams that the server allows; 0 is not known yet
}

// newCodec returns the codec of sessions with the login's key.
func (c coding) newCodec(key Secret) *codec {
	if c.plain() {
		return nil
	}
	return &codec{coding: c, key: []byte(key)}
}

// ciphers returns both directions of the cipher. Each stream begins anew.
func (c *codec) ciphers() (encrypt, decrypt cipher.BlockMode, err error) {
	if c.algorithm == EncryptionAES {
		iv, key := c.key[:aes.BlockSize], c.key[aes.BlockSize:]
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, nil, err
		}
		return cipher.NewCBCEncrypter(block, iv), cipher.NewCBCDecrypter(block, iv), nil
	}
	block, err := blowfish.NewCipher(c.key)
	if err != nil {
		return nil, nil, err
	}
	return ecb{block, block.Encrypt}, ecb{block, block.Decrypt}, nil
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

// connSet is the connections of one transfer; the first stands for all.
type connSet struct {
	net.Conn
	all []net.Conn
}

// Close implements [net.Conn].
func (c connSet) Close() error {
	for _, conn := range c.all {
		_ = conn.Close() // what it could say no longer matters
	}
	return nil
}

// stallConn gives up after a silence.
type stallConn struct {
	net.Conn
	stall time.Duration
}

func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallConn) Write(p []byte) (int, error) {
	const piece = 1 << 20 // what a deadline covers
	sum := 0
	for len(p) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return sum, err
		}
		n, err := c.Conn.Write(p[:min(piece, len(p))])
		sum += n
		if err != nil {
			return sum, err
		}
		p = p[n:]
	}
	return sum, nil
}
