package uftptest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/blowfish" //nolint:staticcheck // deprecated, but what UFTP has
)

// act does the part of a dialogue that is not on the control connection.
func (p *player) act(w []string) {
	p.tb.Helper()
	c := p.ctrl
	switch w[0] {
	case "raw":
		p.write(w[1])
	case "reply":
		c.pending = false
		p.print("S:", p.reply()...)
	case "noconnect":
		c.silent = true
	case "recv":
		p.recv(w[1:])
	case "send":
		data := []byte(w[1])
		if n, ok := strings.CutPrefix(w[1], "="); ok {
			size, _ := strconv.Atoi(n)
			data = pattern(size)
		}
		p.sendAll(p.encode(data, len(c.data)))
	case "tar":
		p.sendAll([][]byte{archive(p.tb, w[1:])})
		p.line("% close")
	case "shutdown":
		for _, d := range c.data {
			closeWrite(d)
		}
	case "close":
		for _, d := range c.data {
			_ = d.Close()
		}
		c.data = nil
	case "show":
		p.print("F:", p.show(w[1]))
	case "await":
		size, _ := strconv.ParseInt(w[2], 10, 64)
		if !pollUntil(playTimeout, func() bool {
			fi, err := os.Stat(filepath.Join(p.s.Dir(), w[1]))
			return err == nil && fi.Size() == size
		}) {
			p.tb.Fatalf("%s does not get %d bytes; so far:\n%s", w[1], size, p.out.String())
		}
	default:
		p.tb.Fatalf("bad word %q", w[0])
	}
}

// archive makes a tar stream of NAME=CONTENT, NAME/ and NAME@TARGET.
func archive(tb testing.TB, entries []string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o600}
		name, content, regular := strings.Cut(e, "=")
		h.Name, h.Size = name, int64(len(content))
		if !regular {
			h.Typeflag = tar.TypeDir
			if name, target, link := strings.Cut(e, "@"); link {
				h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, target
			}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// recv reads from all data connections: to their ends, after which they are
// forgotten, or a number of bytes.
func (p *player) recv(w []string) {
	p.tb.Helper()
	c := p.ctrl
	if len(c.data) == 0 {
		p.print("D:", "<no connection>")
		return
	}
	conns := c.data
	if slices.Contains(w, "first") {
		conns = conns[:1]
	}
	raw := make([][]byte, len(conns))
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, d := range conns {
		wg.Go(func() {
			if w[0] == "eof" {
				raw[i], errs[i] = io.ReadAll(d)
				return
			}
			n, _ := strconv.ParseInt(w[0], 10, 64)
			raw[i], errs[i] = io.ReadAll(io.LimitReader(d, n))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && os.IsTimeout(err) {
			p.tb.Fatalf("no data; so far:\n%s", p.out.String())
		}
	}
	data, notes := p.decode(raw)
	if slices.Contains(w, "sort") {
		lines := strings.SplitAfter(string(data), "\n")
		slices.Sort(lines)
		for _, line := range lines {
			if line != "" {
				text := strconv.QuoteToASCII(p.normal(line))
				p.print("D:", text)
			}
		}
	} else {
		p.print("D:", summary(data)+notes)
	}
	if w[0] == "eof" {
		for _, d := range conns {
			_ = d.Close()
		}
		c.data = c.data[len(conns):]
	}
}

// testCipher makes the ciphers of the session afresh, for each connection.
func (p *player) testCipher() (encrypt, decrypt func([]byte), size int) {
	key := p.ctrl.job.key
	if len(key) == 48 {
		block, err := aes.NewCipher(key[16:])
		if err != nil {
			p.tb.Fatal(err)
		}
		e, d := cipher.NewCBCEncrypter(block, key[:16]), cipher.NewCBCDecrypter(block, key[:16])
		return func(b []byte) { e.CryptBlocks(b, b) }, func(b []byte) { d.CryptBlocks(b, b) }, 16
	}
	block, err := blowfish.NewCipher(key)
	if err != nil {
		p.tb.Fatal(err)
	}
	each := func(f func(dst, src []byte)) func([]byte) {
		return func(b []byte) {
			for ; len(b) > 0; b = b[8:] {
				f(b[:8], b[:8])
			}
		}
	}
	return each(block.Encrypt), each(block.Decrypt), 8
}

// encode makes of data what a client sends on each of n connections.
func (p *player) encode(data []byte, n int) [][]byte {
	outs := make([][]byte, max(n, 1))
	if n <= 1 {
		outs[0] = data
	} else {
		for group := range slices.Chunk(data, parallelBuffer) {
			share := len(group) / n
			for i := range n {
				part := group[i*share:]
				if i < n-1 {
					part = part[:share]
				}
				outs[i] = frame{frameMagic, uint16(i), p.seq, uint32(len(group)), uint32(len(part))}.append(outs[i])
				outs[i] = append(outs[i], part...)
			}
			p.seq++
		}
	}
	for i := range outs {
		if p.ctrl.job.compress {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(outs[i])
			_ = z.Close()
			outs[i] = b.Bytes()
		}
		if p.ctrl.job.key != nil {
			encrypt, _, size := p.testCipher()
			pad := size - len(outs[i])%size
			outs[i] = append(bytes.Clone(outs[i]), bytes.Repeat([]byte{byte(pad)}, pad)...)
			encrypt(outs[i])
		}
	}
	return outs
}

// decode undoes what the server does, and notes what is odd about it.
func (p *player) decode(raw [][]byte) (data []byte, notes string) {
	for i := range raw {
		if p.ctrl.job.key != nil {
			_, decrypt, size := p.testCipher()
			n := len(raw[i]) - len(raw[i])%size
			if n != len(raw[i]) {
				notes += fmt.Sprintf(", stream %d ends within a block", i)
			}
			decrypt(raw[i][:n])
			raw[i] = raw[i][:n]
			if pad := 0; n > 0 {
				pad = int(raw[i][n-1])
				if pad > 0 && pad <= size && bytes.Equal(raw[i][n-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
					raw[i] = raw[i][:n-pad]
					notes += ", padded"
				}
			}
		}
		if p.ctrl.job.compress && len(raw[i]) > 0 {
			z, err := gzip.NewReader(bytes.NewReader(raw[i]))
			if err != nil {
				p.tb.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil {
				notes += ", " + err.Error()
			}
			raw[i] = plain
		}
	}
	if len(raw) == 1 {
		return raw[0], notes
	}
	return p.joinFrames(raw, notes)
}

func (p *player) joinFrames(raw [][]byte, notes string) ([]byte, string) {
	var data []byte
	groups := 0
	for len(raw[0]) > 0 {
		for i := range raw {
			if len(raw[i]) < frameHeader {
				return data, notes + fmt.Sprintf(", stream %d ends in group %d", i, groups)
			}
			h := raw[i][:frameHeader]
			part := int(binary.BigEndian.Uint32(h[12:]))
			if i == 0 && groups == 0 {
				notes += fmt.Sprintf(", group 0 is %x", h)
			}
			raw[i] = raw[i][frameHeader:]
			if len(raw[i]) < part {
				return data, notes + fmt.Sprintf(", stream %d ends in group %d", i, groups)
			}
			data = append(data, raw[i][:part]...)
			raw[i] = raw[i][part:]
		}
		groups++
	}
	return data, notes + fmt.Sprintf(", %d groups", groups)
}

// sendAll sends on all data connections at once.
func (p *player) sendAll(outs [][]byte) {
	var wg sync.WaitGroup
	for i, d := range p.ctrl.data {
		wg.Go(func() {
			_ = d.SetWriteDeadline(time.Now().Add(playTimeout))
			_, _ = d.Write(outs[i]) // the server may have had enough
		})
	}
	wg.Wait()
}
