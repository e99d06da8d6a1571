package uftp_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// versions are pairs of an old and a new version of a file.
func versions() map[string]struct{ old, new []byte } {
	base := pattern(1<<20+12345, 1)
	at := func(i int, with []byte, cut int) []byte { return slices.Concat(base[:i], with, base[i+cut:]) }
	return map[string]struct{ old, new []byte }{
		"same":                  {base, base},
		"a byte changed":        {base, at(500_000, []byte{base[500_000] + 1}, 1)},
		"bytes inserted":        {base, at(300_001, []byte("inserted bytes"), 0)},
		"bytes removed":         {base, at(300_001, nil, 777)},
		"longer at the end":     {base, slices.Concat(base, pattern(70_000, 2))},
		"longer at the front":   {base, slices.Concat(pattern(200_000, 3), base)},
		"shorter":               {base, base[:700_001]},
		"parts in other order":  {base, slices.Concat(base[600_000:], base[:600_000])},
		"nothing in common":     {pattern(300_000, 4), pattern(200_001, 5)},
		"from nothing":          {nil, pattern(100_001, 6)},
		"to nothing":            {base, nil},
		"tiny":                  {[]byte("old"), []byte("new ones")},
		"a piece":               {nil, pattern(64<<10, 7)},
		"two pieces and a byte": {[]byte("x"), pattern(128<<10+1, 8)},
		"zeros":                 {make([]byte, 100_000), slices.Concat([]byte("x"), make([]byte, 150_000))},
	}
}

func TestSyncToServer(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		ctx := t.Context()
		for name, v := range versions() {
			t.Run(name, func(t *testing.T) {
				s.WriteFile(t, "a file", v.old)
				check(t, c.Chmod(ctx, "a file", 0o640))
				st, err := c.SyncToServer(ctx, "a file", bytes.NewReader(v.new), int64(len(v.new)))
				check(t, err)
				if !bytes.Equal(local(t, s, "a file"), v.new) {
					t.Error("the file is wrong")
				}
				if st.Sent+st.Matched != int64(len(v.new)) {
					t.Errorf("%+v of %d bytes", st, len(v.new))
				}
				if name == "a byte changed" && st.Sent > 5000 {
					t.Errorf("for one byte: %+v", st)
				}
				if i := ok[uftp.Info](t)(c.Stat(ctx, "a file")); i.Mode != 0o640 {
					t.Errorf("mode is %v", i.Mode)
				}
			})
		}
		_, err := c.SyncToServer(ctx, "absent", bytes.NewReader(nil), 0)
		wantErr(t, err, fs.ErrNotExist)
		s.WriteFile(t, "f", []byte("x"))
		_, err = c.SyncToServer(ctx, "f", bytes.NewReader(nil), 10)
		wantErr(t, err, io.ErrUnexpectedEOF)
		if n := len(ok[[]uftp.Info](t)(c.List(ctx, ""))); n > 4 { // the server leaves its own temporary file
			t.Errorf("%d files", n)
		}
	})
}

func TestSyncFromServer(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		ctx := t.Context()
		for name, v := range versions() {
			t.Run(name, func(t *testing.T) {
				s.WriteFile(t, "a file", v.new)
				var got bytes.Buffer
				st, err := c.SyncFromServer(ctx, "a file", bytes.NewReader(v.old), int64(len(v.old)), &got)
				check(t, err)
				if !bytes.Equal(got.Bytes(), v.new) {
					t.Errorf("%d bytes, wrong ones", got.Len())
				}
				if name == "longer at the end" && st.Matched < 1<<20-5000 {
					t.Errorf("%+v", st)
				}
			})
		}
		_, err := c.SyncFromServer(ctx, "absent", bytes.NewReader(nil), 0, io.Discard)
		wantErr(t, err, fs.ErrNotExist)
		s.WriteFile(t, "f", pattern(10_000, 1))
		_, err = c.SyncFromServer(ctx, "f", bytes.NewReader(pattern(5000, 2)), 5000, failingWriter{})
		wantErr(t, err, syscall.ENOSPC)
		check(t, c.Mkdir(ctx, "d"))
		_, err = c.SyncFromServer(ctx, "d", bytes.NewReader(pattern(600, 2)), 600, io.Discard)
		wantErr(t, err, syscall.EISDIR)
	})
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestSyncNeedsPlain(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", nil)
	c := open(t, s, func(c *uftp.Config) { c.Compress = true })
	_, err := c.SyncToServer(t.Context(), "f", bytes.NewReader(nil), 0)
	wantErr(t, err, errors.ErrUnsupported)
	wantErr(t, c.CopyTo(t.Context(), "f", open(t, s), "g"), errors.ErrUnsupported)
}

// archive makes a tar stream.
func archive(t *testing.T, files map[string]string, links ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		check(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		ok[int](t)(w.Write([]byte(content)))
	}
	for _, l := range links {
		check(t, w.WriteHeader(&tar.Header{Name: l, Linkname: "f", Typeflag: tar.TypeSymlink}))
	}
	check(t, w.Close())
	return b.Bytes()
}

func TestPutArchive(t *testing.T) {
	t.Parallel()
	all := modes()
	all["plain"] = func(*uftp.Config) {}
	for name, set := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
				c := open(t, s, set)
				ctx := t.Context()
				check(t, c.Mkdir(ctx, "dir"))
				files := map[string]string{}
				for i := range 50 {
					files[fmt.Sprintf("sub %d/file-%d", i%7, i)] = string(pattern(i*i*37, uint64(i)))
				}
				tarball := archive(t, files)
				if n := ok[int64](t)(c.PutArchive(ctx, "dir", bytes.NewReader(tarball))); n != int64(len(tarball)) {
					t.Errorf("%d bytes of %d", n, len(tarball))
				}
				for name, want := range files {
					if got := local(t, s, "dir/"+name); string(got) != want {
						t.Errorf("%s is wrong", name)
					}
				}
				// The same session goes on as before.
				ok[int](t)(c.WriteAt(ctx, "f", []byte("content"), 0))
				if got := local(t, s, "f"); string(got) != "content" {
					t.Errorf("after an archive: %q", got)
				}
				_, err := c.PutArchive(ctx, "absent", bytes.NewReader(tarball))
				wantErr(t, err, fs.ErrNotExist)
				_, err = c.PutArchive(ctx, "f", bytes.NewReader(tarball))
				wantErr(t, err, syscall.ENOTDIR)
				_, err = c.PutArchive(ctx, "dir", bytes.NewReader(archive(t, nil, "link")))
				if err == nil {
					t.Error("a link was unpacked")
				}
				_, err = c.PutArchive(ctx, "dir", errReader{io.ErrNoProgress})
				wantErr(t, err, io.ErrNoProgress)
				ok[int](t)(c.WriteAt(ctx, "f", []byte("CONTENT"), 0))
				if got := local(t, s, "f"); string(got) != "CONTENT" {
					t.Errorf("after failures: %q", got)
				}
			})
		})
	}
}

// TestRemoteCopy copies from server to server; both are the same one.
func TestRemoteCopy(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		a, b := open(t, s), open(t, s)
		ctx := t.Context()
		data := pattern(3<<20+1, 1)
		s.WriteFile(t, "it's a file", data)
		s.WriteFile(t, "empty", nil)
		check(t, a.CopyFrom(ctx, "fetched", b, "it's a file"))
		check(t, a.CopyTo(ctx, "it's a file", b, "sent to"))
		check(t, a.CopyTo(ctx, "empty", b, "nothing"))
		for _, name := range []string{"fetched", "sent to"} {
			if !bytes.Equal(local(t, s, name), data) {
				t.Errorf("%s is wrong", name)
			}
		}
		if got := local(t, s, "nothing"); len(got) != 0 {
			t.Error("an empty file has content")
		}
		wantErr(t, a.CopyFrom(ctx, "x", b, "absent"), fs.ErrNotExist)
		wantErr(t, a.CopyFrom(ctx, "no/x", b, "empty"), fs.ErrNotExist)
		check(t, a.Mkdir(ctx, "d"))
		wantErr(t, a.CopyTo(ctx, "d", b, "x"), syscall.EISDIR)
		if m, err := filepath.Glob(filepath.Join(s.Dir(), ".uftp-*")); err != nil || len(m) > 0 {
			t.Errorf("left behind: %v, %v", m, err)
		}
		readOnly := open(t, s, func(c *uftp.Config) { c.ReadOnly = true })
		wantErr(t, a.CopyTo(ctx, "empty", readOnly, "x"), fs.ErrPermission)
		wantErr(t, readOnly.CopyFrom(ctx, "x", a, "empty"), os.ErrPermission)
	})
}

// TestSyncRefusedFarAway: over a long way replies to pushes come with those to
// commands; a synchronisation whose failure is told behind its first reply is still
// understood, and the session goes on.
func TestSyncRefusedFarAway(t *testing.T) {
	t.Parallel()
	s, c := farAway(t, 1)
	ctx := t.Context()
	check(t, c.Mkdir(ctx, "d"))
	s.WriteFile(t, "f", pattern(10_000, 1))
	_, err := c.SyncFromServer(ctx, "d", bytes.NewReader(pattern(600, 2)), 600, io.Discard)
	wantErr(t, err, syscall.EISDIR)
	var got bytes.Buffer
	_, err = c.SyncFromServer(ctx, "f", bytes.NewReader(pattern(9000, 1)), 9000, &got)
	check(t, err)
	if !bytes.Equal(got.Bytes(), pattern(10_000, 1)) {
		t.Error("wrong bytes")
	}
	if st := c.Stats(); st.Logins != 1 || st.Retries != 0 {
		t.Errorf("%+v", st)
	}
}
