package uftptest

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// One pipelined session: RANG and RETR sent ahead, data read as it comes. With
// $UFTPD_DIR set the real server is measured too.
func BenchmarkPipelinedRead(b *testing.B) {
	for _, sendfile := range []bool{false, true} {
		b.Run(fmt.Sprintf("uftptest/sendfile=%v", sendfile), func(b *testing.B) { pipelinedRead(b, Start(b, Config{}), sendfile) })
		b.Run(fmt.Sprintf("uftpd/sendfile=%v", sendfile), func(b *testing.B) { pipelinedRead(b, StartReal(b, Config{}), sendfile) })
	}
	b.Run("uftptest/delay=20ms", func(b *testing.B) {
		s := Start(b, Config{})
		s.Faults().SetLink(Link{Delay: 20 * time.Millisecond})
		pipelinedRead(b, s, false)
	})
}

func pipelinedRead(b *testing.B, s *Server, sendfile bool) {
	const (
		block  = 1 << 20
		blocks = 256
	)
	s.WriteFile(b, "f", make([]byte, block*blocks))
	p := &player{tb: b, s: s}
	defer p.close()
	p.line("@ session")
	p.line(fmt.Sprintf("C: OPTS SENDFILE_ENABLED %v", sendfile))
	p.line("C: KEEP-ALIVE true")
	p.line("C: EPSV")
	_ = p.ctrl.conn.SetDeadline(time.Time{})
	_ = p.ctrl.data[0].SetDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, p.ctrl.r) }() // ends with the connection
	var requests strings.Builder
	for i := range blocks {
		fmt.Fprintf(&requests, "RANG %d %d\r\nRETR f\r\n", i*block, (i+1)*block)
	}
	buf := make([]byte, block)
	b.SetBytes(block * blocks)
	for b.Loop() {
		p.write(requests.String())
		for range blocks {
			if _, err := io.ReadFull(p.ctrl.data[0], buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}
