package uftp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// modes are the ways in which data connections can be used.
func modes() map[string]func(*uftp.Config) {
	return map[string]func(*uftp.Config){
		"AES":                   func(c *uftp.Config) { c.Encryption = "aes" },
		"Blowfish":              func(c *uftp.Config) { c.Encryption = uftp.EncryptionBlowfish },
		"gzip":                  func(c *uftp.Config) { c.Compress = true },
		"2 streams":             func(c *uftp.Config) { c.Streams = 2 },
		"3 streams and gzip":    func(c *uftp.Config) { c.Streams, c.Compress = 3, true },
		"AES and gzip":          func(c *uftp.Config) { c.Encryption, c.Compress = uftp.EncryptionAES, true },
		"Blowfish and gzip":     func(c *uftp.Config) { c.Encryption, c.Compress = uftp.EncryptionBlowfish, true },
		"more streams than any": func(c *uftp.Config) { c.Streams = 16 },
	}
}

// TestModes does in all modes what TestOperations does in the plain one.
func TestModes(t *testing.T) {
	t.Parallel()
	for name, set := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) { testOperations(t, s, set) })
		})
	}
}

// TestModeLengths writes and reads files of the lengths at which servers and
// ciphers go wrong.
func TestModeLengths(t *testing.T) {
	t.Parallel()
	sizes := []int{
		0, 1, 8, 15, 16, 17, 16384, 16385,
		64<<10 - 16, 64<<10 - 8, 64<<10 - 1, 64 << 10, 1<<20 - 9, 1<<20 - 8, 1<<20 - 1, 1 << 20, 3<<20 + 5,
	}
	for name, set := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
				c := open(t, s, set)
				ctx := t.Context()
				for _, n := range sizes {
					data := pattern(n, uint64(n))
					name := fmt.Sprint("put-", n)
					if got, err := c.Put(ctx, name, onlyReader{bytes.NewReader(data)}); err != nil || got != int64(n) {
						t.Fatalf("put %d bytes: %d, %v", n, got, err)
					}
					if !bytes.Equal(local(t, s, name), data) {
						t.Errorf("put %d bytes: the file is wrong", n)
					}
					r, info, err := c.Get(ctx, name)
					check(t, err)
					if got := ok[[]byte](t)(io.ReadAll(r)); !bytes.Equal(got, data) || info.Size != int64(n) {
						t.Errorf("get %d bytes: %d, wrong ones", n, len(got))
					}
					check(t, r.Close())
					if n == 0 {
						continue
					}
					ok[int](t)(c.WriteAt(ctx, "at", data, 3))
					if got := local(t, s, "at"); !bytes.Equal(got[3:3+n], data) {
						t.Errorf("write %d bytes at 3: the file is wrong", n)
					}
					parts := partsOf(data, 5, 1+n/2)
					ok[uftp.Info](t)(c.WriteRanges(ctx, "ranges", parts))
					ok[uftp.Info](t)(c.WriteFrom(ctx, "from", []uftp.WriteSpan{{Off: 0, Len: int64(n)}}, from(data)))
					if !bytes.Equal(local(t, s, "ranges")[5:5+n], data) || !bytes.Equal(local(t, s, "from")[:n], data) {
						t.Errorf("write %d bytes in ranges: a file is wrong", n)
					}
					p := make([]byte, n)
					ok[int](t)(c.ReadAt(ctx, "at", p, 3))
					if !bytes.Equal(p, data) {
						t.Errorf("read %d bytes at 3: wrong ones", n)
					}
				}
				if st := c.Stats(); st.Retries != 0 || st.Logins > 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

type onlyReader struct{ io.Reader }

// TestModesWire checks that the modes are really on.
func TestModesWire(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	zeros := make([]byte, 1<<20)
	s.WriteFile(t, "f", zeros)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		set  func(*uftp.Config)
		want func(r uftptest.AuthRequest, conns int64) bool
	}{
		"AES":      {modes()["AES"], func(r uftptest.AuthRequest, _ int64) bool { return len(r.Key) == 48 && r.Algorithm == "AES" }},
		"Blowfish": {modes()["Blowfish"], func(r uftptest.AuthRequest, _ int64) bool { return len(r.Key) == 56 && r.Algorithm == "BLOWFISH" }},
		"gzip":     {modes()["gzip"], func(r uftptest.AuthRequest, _ int64) bool { return r.Compress && len(r.Key) == 0 }},
		"streams":  {modes()["2 streams"], func(r uftptest.AuthRequest, n int64) bool { return r.StreamCount == 1 && n == 2 }},
		"limited":  {modes()["more streams than any"], func(_ uftptest.AuthRequest, n int64) bool { return n == 4 }},
	} {
		c := open(t, s, tt.set)
		check(t, c.Connect(ctx))
		before := s.Stats().DataConnections
		ok[int](t)(c.ReadAt(ctx, "f", make([]byte, 1<<20), 0))
		requests := s.AuthRequests()
		if !tt.want(requests[len(requests)-1], s.Stats().DataConnections-before) {
			t.Errorf("%s: %+v, %d data connections", name, requests[len(requests)-1], s.Stats().DataConnections-before)
		}
	}
}

func TestModeErrors(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	for name, set := range map[string]func(*uftp.Config){
		"unknown cipher":         func(c *uftp.Config) { c.Encryption = "ROT13" },
		"negative streams":       func(c *uftp.Config) { c.Streams = -1 },
		"streams and encryption": func(c *uftp.Config) { c.Streams, c.Encryption = 2, uftp.EncryptionAES },
		"login without its key":  func(c *uftp.Config) { c.Login, c.Encryption = &uftp.Login{Host: "h", Port: 1}, "AES" },
	} {
		cfg := uftp.Config{AuthURL: s.AuthURL()}
		set(&cfg)
		_, err := uftp.New(cfg)
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestModeLogin logs in with a password and a key that were obtained elsewhere.
func TestModeLogin(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		key := pattern(48, 1)
		r := as(s, "demo")
		r.BaseDir, r.Persistent, r.EncryptionKey, r.EncryptionAlgorithm = s.Dir(), true, key, "AES"
		login := ok[uftp.Login](t)(uftp.Authenticate(t.Context(), r))
		c := open(t, s, func(c *uftp.Config) {
			c.Login, c.Encryption, c.EncryptionKey = &login, "AES", uftp.Secret(key)
		})
		ok[int64](t)(c.Put(t.Context(), "f", strings.NewReader("content")))
		if got := local(t, s, "f"); string(got) != "content" {
			t.Errorf("%q", got)
		}
		if text := fmt.Sprintf("%+v %#v %s", c, login, login); strings.Contains(text, string(key)) {
			t.Error("the key prints")
		}
	})
}

// TestModeCut cuts data connections in the middle.
func TestModeCut(t *testing.T) {
	t.Parallel()
	for name, set := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			data := pattern(3<<20, 1)
			s.WriteFile(t, "f", data)
			c := open(t, s, set)
			ctx := t.Context()
			p := make([]byte, len(data))
			for _, after := range []int64{0, 100_000} {
				s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Transfer: true, After: after, Cut: true})
				ok[int](t)(c.ReadAt(ctx, "f", p, 0))
				if !bytes.Equal(p, data) {
					t.Errorf("cut after %d: wrong bytes", after)
				}
				s.Faults().Inject(1, uftptest.Fault{Verb: "STOR", Transfer: true, After: after, Cut: true})
				ok[int](t)(c.WriteAt(ctx, "g", data, 0))
				if !bytes.Equal(local(t, s, "g"), data) {
					t.Errorf("upload cut after %d: wrong bytes", after)
				}
			}
			s.Faults().Inject(1, uftptest.Fault{Verb: "RETR", Transfer: true, After: 100_000, Cut: true})
			r, _, err := c.Get(ctx, "f")
			if err != nil {
				return
			}
			got, err := io.ReadAll(r)
			check(t, r.Close())
			// Cut that early, it may have been repeated; it is never short.
			if err == nil && !bytes.Equal(got, data) {
				t.Errorf("a stream that was cut has %d bytes and no error", len(got))
			}
		})
	}
}
