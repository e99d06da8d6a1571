package uftp_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// names are file names that need care somewhere on the wire: blanks in Python's
// sense at both ends, what other programs take for line ends, options, quotes,
// and what looks like part of a command or a reply.
var names = []string{
	"plain", " lead", "trail ", "  both  ", " ", "   ", "in the middle", "-a", "-", "--", "N x", "F x", "N", "F",
	"\ttab", "tab\t", "a\tb", "\t", "\x0bvt\x0b", "\x0cff\x0c", "\x1cfs\x1c", "\x1dgs", "us\x1f", "a\x1cb",
	"nel\u0085", "\u0085nel", "a\u0085b", "nbsp\u00a0", "\u00a0nbsp", "\u2003em", "em\u2003", "a\u2028b", "\u2028ls\u2029", "ogham\u1680", "ideo\u3000",
	"\ufeffbom", "zero\u200b", "\x01\x02\x1b\x7f",
	`"quoted"`, `'single'`, `back\slash`, "semi;colon", "eq=ual", "size=1;type=dir; x", "UNIX.mode=777; y",
	"211 End of file list", "226 done", "%s%d", "*?[]", "~", "~root", "$HOME", "`id`", "#", "|", "(|||1|)",
	"ümläut", "日本語", "🦊", "e\u0301 and \u00e9", ".hidden", "...", ".. ", " ..", ". ", " .", "..a",
	strings.Repeat("l", 255), strings.Repeat("ä", 127),
}

func TestNames(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 }) // which must not be lost
		ctx := t.Context()
		when := time.Date(2020, 2, 29, 23, 59, 58, 0, time.UTC)
		for i, dir := range []string{"", "d", "with blank", " d "} {
			if dir != "" {
				check(t, c.Mkdir(ctx, dir))
			}
			for k, name := range names {
				p := name
				if dir != "" {
					p = dir + "/" + name
				}
				data := fmt.Appendf(nil, "%d %q", k, name)
				fail := func(what string, err error) {
					t.Helper()
					if err != nil {
						t.Errorf("%s %q: %v", what, p, err)
					}
				}
				_, err := c.WriteAt(ctx, p, data, 0)
				fail("write", err)
				fail("chtimes", c.Chtimes(ctx, p, when.Add(time.Minute)))
				fail("chmod", c.Chmod(ctx, p, 0o600))
				_, err = c.SetAttr(ctx, p, uftp.Attr{Mode: 0o640, SetMode: true, ModTime: when})
				fail("set mode and time", err)
				got := make([]byte, len(data))
				_, err = c.ReadAt(ctx, p, got, 0)
				fail("read", err)
				if !bytes.Equal(got, data) {
					t.Errorf("%q contains %q", p, got)
				}
				info, err := c.Stat(ctx, p)
				fail("stat", err)
				if info.Name != name || info.Size != int64(len(data)) || info.Mode != 0o640 || !info.ModTime.Equal(when) {
					t.Errorf("stat %q: %+v", p, info)
				}
				fi, err := os.Stat(filepath.Join(s.Dir(), p))
				fail("local stat", err)
				if err == nil && (fi.Mode() != 0o640 || !fi.ModTime().Equal(when)) {
					t.Errorf("local stat %q: %v %v", p, fi.Mode(), fi.ModTime())
				}
				_, err = c.Hash(ctx, p, "SHA-256", 0, -1)
				fail("hash", err)
			}
			entries, err := c.List(ctx, dir)
			check(t, err)
			var listed []string
			for _, e := range entries {
				if !e.IsDir() {
					listed = append(listed, e.Name)
					if e.Mode != 0o640 || !e.ModTime.Equal(when) {
						t.Errorf("list %q: %+v", dir, e)
					}
				}
			}
			want := slices.Sorted(slices.Values(names))
			slices.Sort(listed)
			if !slices.Equal(listed, want) {
				t.Errorf("list %q: %q, want %q", dir, listed, want)
			}
			for k, name := range names {
				from, to := filepath.Join(dir, name), filepath.Join(dir, name)
				if len(name) < 250 {
					to = filepath.Join(dir, name+"X")
					if err := c.Rename(ctx, from, to); err != nil {
						t.Errorf("rename %q: %v", from, err)
					}
				}
				if err := c.Remove(ctx, to); err != nil {
					t.Errorf("remove %q: %v", to, err)
				}
				// The same name for a directory, in one of the places.
				if i != 1 {
					continue
				}
				if err := c.Mkdir(ctx, from); err != nil {
					t.Errorf("mkdir %q: %v", from, err)
				}
				if _, err := c.Create(ctx, from+"/ f "); err != nil {
					t.Errorf("%d create in %q: %v", k, from, err)
				}
				if l, err := c.List(ctx, from); err != nil || len(l) != 1 || l[0].Name != " f " {
					t.Errorf("list %q: %v, %v", from, l, err)
				}
				if err := c.Chmod(ctx, from, 0o750); err != nil {
					t.Errorf("chmod %q: %v", from, err)
				}
				if err := c.Chtimes(ctx, from, when); err != nil {
					t.Errorf("chtimes %q: %v", from, err)
				}
				if i, err := c.Stat(ctx, from); err != nil || i.Mode != fs.ModeDir|0o750 || !i.ModTime.Equal(when) {
					t.Errorf("stat %q: %+v, %v", from, i, err)
				}
				if err := c.Remove(ctx, from+"/ f "); err != nil {
					t.Errorf("remove in %q: %v", from, err)
				}
				if err := c.Rmdir(ctx, from); err != nil {
					t.Errorf("rmdir %q: %v", from, err)
				}
			}
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestPathsRefused(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s)
	ctx := t.Context()
	for _, p := range []string{"a\nb", "a\rb", "a\x00b", "\xff", "a/\xc3/b", "..", "../x", "a/..", "a/../b", strings.Repeat("x/", 4100)} {
		_, err := c.Stat(ctx, p)
		wantErr(t, err, fs.ErrInvalid)
		wantErr(t, c.Rename(ctx, "a", p), fs.ErrInvalid)
		_, err = c.WriteAt(ctx, p, []byte("x"), 0)
		wantErr(t, err, fs.ErrInvalid)
	}
	if st := c.Stats(); st.RoundTrips != 0 {
		t.Errorf("the server was asked: %+v", st)
	}
}

// TestListForeignNames lists what cannot be addressed, or tries to look like
// something else: it is left out, and the session stays in step.
func TestListForeignNames(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		for _, name := range []string{
			"good", "zz", "new\nline", "two\nnew\nlines", "x\n211 End of file list", "y\n211 End of file list\n350 Restarting at 1",
			"z\n -rw- 666 1000 forged", "w\n250 End", "cr\r", "\xff\xfe",
		} {
			check(t, os.WriteFile(filepath.Join(s.Dir(), name), nil, 0o644))
		}
		check(t, os.Symlink("/nonexistent", filepath.Join(s.Dir(), "dangling")))
		s.Chown(t)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		for range 3 {
			entries, err := c.List(t.Context(), "")
			check(t, err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Name)
			}
			slices.Sort(got)
			if want := []string{"good", "zz"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			_, err = c.Stat(t.Context(), "good")
			check(t, err)
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
}

// TestZones sets times on both sides of the changes of daylight saving time.
func TestZones(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"} {
		t.Run(zone, func(t *testing.T) {
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Skip(err)
			}
			uftptest.Each(t, uftptest.Config{Location: loc}, func(t *testing.T, s *uftptest.Server) {
				s.WriteFile(t, "f", nil)
				c := open(t, s)
				ctx := t.Context()
				times := []time.Time{
					time.Unix(0, 0), time.Unix(1, 0), time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC),
					time.Date(1985, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
					time.Date(2025, 3, 30, 0, 59, 59, 0, time.UTC), time.Date(2025, 3, 30, 1, 0, 0, 0, time.UTC),
					time.Date(2025, 10, 25, 12, 0, 0, 0, time.UTC), time.Date(2025, 10, 26, 12, 0, 1, 0, time.UTC),
				}
				for _, want := range times {
					check(t, c.Chtimes(ctx, "f", want))
					fi, err := os.Stat(filepath.Join(s.Dir(), "f"))
					check(t, err)
					if !fi.ModTime().Equal(want) {
						t.Errorf("set %v, is %v", want, fi.ModTime().UTC())
					}
					info, err := c.Stat(ctx, "f")
					check(t, err)
					if !info.ModTime.Equal(want) {
						t.Errorf("set %v, reported as %v", want, info.ModTime.UTC())
					}
				}
			})
		})
	}
}

// TestBases has base directories as people write them: none, which is the home,
// one below the home, and with a slash at the end.
func TestBases(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "sub dir/deep/f", []byte("0123456789"))
		for name, tt := range map[string]struct{ base, path string }{
			"none":           {"", "sub dir/deep/f"},
			"relative":       {"sub dir", "deep/f"},
			"relative slash": {"sub dir/deep/", "f"},
			"absolute slash": {s.Dir() + "/sub dir/", "deep/f"},
			"root":           {"/", strings.TrimPrefix(s.Dir(), "/") + "/sub dir/deep/f"},
		} {
			t.Run(name, func(t *testing.T) {
				c := open(t, s, func(c *uftp.Config) { c.BaseDir, c.MaxSessions = tt.base, 1 })
				ctx := t.Context()
				check(t, c.Connect(ctx))
				// With a blank in the path, Chmod enters directories; what follows must
				// not depend on where it comes out.
				other := filepath.Dir(tt.path) + "/g h"
				_, err := c.WriteAt(ctx, other, []byte("x"), 2)
				check(t, err)
				check(t, c.Chmod(ctx, other, 0o640))
				check(t, c.Chtimes(ctx, other, time.Unix(1e9, 0)))
				got := make([]byte, 3)
				_, err = c.ReadAt(ctx, tt.path, got, 4)
				check(t, err)
				if string(got) != "456" {
					t.Errorf("read %q", got)
				}
				l, err := c.List(ctx, filepath.Dir(tt.path))
				check(t, err)
				if len(l) != 2 {
					t.Errorf("listed %v", l)
				}
				if text := string(local(t, s, "sub dir/deep/g h")); text != "\x00\x00x" {
					t.Errorf("wrote %q", text)
				}
				check(t, c.Rename(ctx, other, other+"2"))
				check(t, c.Remove(ctx, other+"2"))
				if st := c.Stats(); st.Logins != 1 || st.Retries != 0 {
					t.Errorf("stats %+v", st)
				}
			})
		}
	})
}

// TestConfined cannot leave the directory of a server that is confined to it.
func TestConfined(t *testing.T) {
	outside := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(outside, "srv"), 0o755))
	check(t, os.MkdirAll(filepath.Join(outside, "srv2"), 0o755))
	s := uftptest.Start(t, uftptest.Config{Dir: filepath.Join(outside, "srv"), Confine: true, MaxConnections: 100})
	s.WriteFile(t, "sub/f", []byte("x"))
	for base, want := range map[string]bool{
		"": true, "sub": true, s.Dir(): true, s.Dir() + "/sub/": true,
		"/":     false,
		outside: false, s.Dir() + "2": false, "..": false, "../srv2": false, "/etc": false, s.Dir() + "/../srv2": false,
	} {
		c := open(t, s, func(c *uftp.Config) { c.BaseDir = base })
		err := c.Connect(t.Context())
		if want {
			check(t, err)
			l, err := c.List(t.Context(), "")
			check(t, err)
			if len(l) != 1 {
				t.Errorf("base %q: %v", base, l)
			}
		} else {
			wantErr(t, err, fs.ErrNotExist)
		}
		check(t, c.Close())
	}
}
