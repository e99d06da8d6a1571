package uftp_test

import (
	"errors"
	"io/fs"
	"strconv"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// benchmark runs f on both servers, with round trips per operation.
func benchmark(b *testing.B, f func(b *testing.B, s *uftptest.Server, c *uftp.Client)) {
	for name, start := range map[string]func(testing.TB, uftptest.Config) *uftptest.Server{
		"uftptest": uftptest.Start, "uftpd": uftptest.StartReal,
	} {
		b.Run(name, func(b *testing.B) {
			s := start(b, uftptest.Config{})
			c := open(b, s)
			check(b, c.Connect(b.Context()))
			before := c.Stats().RoundTrips
			f(b, s, c)
			b.ReportMetric(float64(c.Stats().RoundTrips-before)/float64(b.N), "roundtrips/op")
		})
	}
}

func BenchmarkReadAt(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20, 64 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			benchmark(b, func(b *testing.B, s *uftptest.Server, c *uftp.Client) {
				s.WriteFile(b, "f", pattern(size, 0))
				p := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := c.ReadAt(b.Context(), "f", p, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkWriteAt(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20, 64 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			benchmark(b, func(b *testing.B, _ *uftptest.Server, c *uftp.Client) {
				p := pattern(size, 0)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := c.WriteAt(b.Context(), "f", p, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkPool lends sessions to more borrowers than there are.
func BenchmarkPool(b *testing.B) {
	for _, borrowers := range []int{1, 16} {
		b.Run(strconv.Itoa(borrowers), func(b *testing.B) {
			s := uftptest.Start(b, uftptest.Config{MaxConnections: 4})
			c := open(b, s, func(c *uftp.Config) { c.MaxSessions = 4 })
			check(b, c.Connect(b.Context()))
			b.SetParallelism(borrowers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := uftp.Borrow(b.Context(), c); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkStat(b *testing.B) {
	benchmark(b, func(b *testing.B, s *uftptest.Server, c *uftp.Client) {
		s.WriteFile(b, "f", nil)
		for b.Loop() {
			if _, err := c.Stat(b.Context(), "f"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkList2000(b *testing.B) {
	benchmark(b, func(b *testing.B, s *uftptest.Server, c *uftp.Client) {
		for i := range 2000 {
			s.WriteFile(b, "file-"+strconv.Itoa(i), nil)
		}
		b.ResetTimer()
		for b.Loop() {
			if l, err := c.List(b.Context(), ""); err != nil || len(l) != 2000 {
				b.Fatal(len(l), err)
			}
		}
	})
}

// BenchmarkSmallFile makes a file as a mount does: look for it, make it, write
// it. The look-up of a missing name costs the data connection.
func BenchmarkSmallFile(b *testing.B) {
	benchmark(b, func(b *testing.B, _ *uftptest.Server, c *uftp.Client) {
		p := pattern(4<<10, 0)
		for i := 0; b.Loop(); i++ {
			name := "file-" + strconv.Itoa(i)
			if _, err := c.Stat(b.Context(), name); !errors.Is(err, fs.ErrNotExist) {
				b.Fatal(err)
			}
			if _, err := c.Create(b.Context(), name); err != nil {
				b.Fatal(err)
			}
			if _, err := c.WriteAt(b.Context(), name, p, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
