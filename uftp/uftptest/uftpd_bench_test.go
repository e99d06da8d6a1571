package uftptest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// One pipelined session: RANG and RETR sent ahead, data read as it comes.
func BenchmarkPipelinedRead(b *testing.B) {
	const (
		block  = 1 << 20
		blocks = 256
		window = 8
	)
	for _, sendfile := range []bool{false, true} {
		b.Run(fmt.Sprintf("sendfile=%v", sendfile), func(b *testing.B) {
			s := Start(b, Config{})
			if err := os.WriteFile(filepath.Join(s.Dir(), "f"), make([]byte, block*blocks), 0o600); err != nil {
				b.Fatal(err)
			}
			p := &player{tb: b, s: s}
			defer p.close()
			p.setup([]string{"session"})
			p.send([]string{fmt.Sprintf("OPTS SENDFILE_ENABLED %v", sendfile), "KEEP-ALIVE true"})
			p.send([]string{"EPSV"})
			data := p.ctrl.data[0]
			b.SetBytes(block * blocks)
			for b.Loop() {
				request := func(i int) {
					p.write(fmt.Sprintf("RANG %d %d\r\nRETR f\r\n", i*block, (i+1)*block))
				}
				for i := range window {
					request(i)
				}
				for i := range blocks {
					if _, err := io.CopyN(discard{}, data, block); err != nil {
						b.Fatal(err)
					}
					if i+window < blocks {
						request(i + window)
					}
					for range 3 { // 350, 150, 226
						p.reply()
					}
				}
			}
		})
	}
}

// discard reads a connection into one large buffer.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (discard) ReadFrom(r io.Reader) (int64, error) {
	buf := make([]byte, 1<<20)
	total := int64(0)
	for {
		n, err := r.Read(buf)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

var _ net.Conn = (*shapedConn)(nil)
