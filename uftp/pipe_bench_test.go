package uftp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// benchSize is the size of the file of the pipe's benchmarks, which stays in the
// kernel's cache.
const benchSize = 512 << 20

// onServers runs f on both servers, with a large file "f" of a random piece over
// and over.
func onServers(b *testing.B, f func(b *testing.B, s *uftptest.Server, piece []byte)) {
	piece := pattern(1<<20, 70)
	for name, start := range map[string]func(testing.TB, uftptest.Config) *uftptest.Server{
		"uftptest": uftptest.Start, "uftpd": uftptest.StartReal,
	} {
		b.Run(name, func(b *testing.B) {
			s := start(b, uftptest.Config{})
			s.WriteFile(b, "f", bytes.Repeat(piece, benchSize/len(piece)))
			when := time.Now().Add(-time.Hour)
			check(b, os.Chtimes(filepath.Join(s.Dir(), "f"), when, when))
			f(b, s, piece)
		})
	}
}

// share has n goroutines do b.N things.
func share(b *testing.B, n int, do func(i int64) error) {
	var wg sync.WaitGroup
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkFetchStream reads a file in order, with 16 pieces of 1 MiB at a time.
func BenchmarkFetchStream(b *testing.B) {
	onServers(b, func(b *testing.B, s *uftptest.Server, piece []byte) {
		c := open(b, s)
		var bufs sync.Pool
		bufs.New = func() any { p := make([]byte, len(piece)); return &p }
		b.SetBytes(int64(len(piece)))
		share(b, 16, func(i int64) error {
			p := bufs.Get().(*[]byte)
			defer bufs.Put(p)
			off := i * int64(len(piece)) % benchSize
			_, _, err := c.Fetch(b.Context(), uftp.Read{Path: "f", Off: off, Buf: *p})
			if err == nil && !bytes.Equal((*p)[:16], piece[:16]) {
				err = fmt.Errorf("wrong bytes at %d", off)
			}
			return err
		})
		b.Logf("%+v", c.Stats())
	})
}

// BenchmarkFetchRandom reads 4 KiB at random places with 1 and 16 goroutines.
func BenchmarkFetchRandom(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			onServers(b, func(b *testing.B, s *uftptest.Server, piece []byte) {
				c := open(b, s)
				var bufs sync.Pool
				bufs.New = func() any { p := make([]byte, 4<<10); return &p }
				share(b, n, func(int64) error {
					p := bufs.Get().(*[]byte)
					defer bufs.Put(p)
					off := rand.Int64N(benchSize/int64(len(*p))) * int64(len(*p))
					_, err := c.ReadAt(b.Context(), "f", *p, off)
					if k := int(off) % len(piece); err == nil && !bytes.Equal(*p, piece[k:k+len(*p)]) {
						err = fmt.Errorf("wrong bytes at %d", off)
					}
					return err
				})
			})
		})
	}
}

// BenchmarkRaw is what one session gives to a program that does nothing else and
// checks nothing: pieces of 1 MiB and of 4 KiB, 16 on their way.
func BenchmarkRaw(b *testing.B) {
	for _, size := range []int64{1 << 20, 4 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			onServers(b, func(b *testing.B, s *uftptest.Server, _ []byte) {
				ctl, data := rawSession(b, s)
				b.SetBytes(size)
				b.ResetTimer()
				room := make(chan struct{}, 16)
				var wg sync.WaitGroup
				wg.Go(func() {
					for i := range int64(b.N) {
						room <- struct{}{}
						off := i * size % benchSize
						_, _ = fmt.Fprintf(ctl, "RANG %d %d\r\nRETR f\r\n", off, off+size)
					}
				})
				wg.Go(func() {
					r := bufio.NewReader(quick{ctl.(*net.TCPConn)})
					for range 3 * b.N {
						if _, err := r.ReadSlice('\n'); err != nil {
							b.Error(err)
							return
						}
					}
				})
				p := make([]byte, size)
				for range b.N {
					if _, err := io.ReadFull(data, p); err != nil {
						b.Fatal(err)
					}
					<-room
				}
				wg.Wait()
			})
		})
	}
}

// rawSession logs in by hand.
func rawSession(b *testing.B, s *uftptest.Server) (ctl, data net.Conn) {
	b.Helper()
	l := ok[*uftp.Login](b)(login(b, s))
	ctl = ok[net.Conn](b)(net.Dial("tcp", l.Addresses()[0]))
	b.Cleanup(func() { _ = ctl.Close() })
	r := bufio.NewReader(ctl)
	reply := func(cmd string) string {
		if cmd != "" {
			_, _ = io.WriteString(ctl, cmd+"\r\n")
		}
		line, err := r.ReadString('\n')
		check(b, err)
		return strings.TrimSpace(line)
	}
	reply("")
	reply("USER anonymous")
	reply("PASS " + l.Password.Reveal())
	reply("TYPE I")
	reply("KEEP-ALIVE true")
	reply("OPTS SENDFILE_ENABLED true")
	host, _, err := net.SplitHostPort(l.Addresses()[0])
	check(b, err)
	port := strings.Trim(reply("EPSV")[len("229 Entering Extended Passive Mode "):], "(|)")
	data = ok[net.Conn](b)(net.Dial("tcp", net.JoinHostPort(host, port)))
	b.Cleanup(func() { _ = data.Close() })
	return ctl, data
}

func login(b *testing.B, s *uftptest.Server) (*uftp.Login, error) {
	l, err := uftp.Authenticate(b.Context(), uftp.AuthRequest{
		AuthURL: s.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
		BaseDir: s.Dir(), Persistent: true,
	})
	return &l, err
}

// quick asks for acknowledgements without delay.
type quick struct{ *net.TCPConn }

func (q quick) Read(p []byte) (int, error) {
	uftp.QuickAck(q.TCPConn)
	return q.TCPConn.Read(p)
}
