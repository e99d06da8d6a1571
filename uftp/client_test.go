package uftp_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a client of s, with the settings that options change.
func open(tb testing.TB, s *uftptest.Server, options ...func(*uftp.Config)) *uftp.Client {
	tb.Helper()
	cfg := uftp.Config{
		AuthURL: s.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
		BaseDir:   s.Dir(),
		IOTimeout: 20 * time.Second,
	}
	for _, o := range options {
		o(&cfg)
	}
	c, err := uftp.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// ok stops the test on an error.
func ok[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wantErr checks an error's causes and that it is the client's error type.
func wantErr(tb testing.TB, err error, causes ...error) {
	tb.Helper()
	if _, ok := errors.AsType[*uftp.Error](err); !ok {
		tb.Errorf("error is %T (%v), want *uftp.Error", err, err)
	}
	for _, want := range causes {
		if !errors.Is(err, want) {
			tb.Errorf("error is %v, want %v", err, want)
		}
	}
}

// pattern returns n bytes that differ at every offset.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func local(tb testing.TB, s *uftptest.Server, name string) []byte {
	tb.Helper()
	return ok[[]byte](tb)(os.ReadFile(filepath.Join(s.Dir(), name)))
}

func TestOperations(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) { testOperations(t, s) })
}

// TestQuirks does the same with what other servers do otherwise.
func TestQuirks(t *testing.T) {
	for name, q := range map[string]uftptest.Quirks{
		"CRLF":               {CRLF: true},
		"old errors":         {OldErrors: true, Version: "3.4.1"},
		"inclusive ranges":   {InclusiveRange: true, CleanFEAT: true},
		"late listen":        {LateListen: true},
		"standard codes":     {StandardCodes: true, UTF8: true},
		"no Nagle":           {NoDelay: true},
		"hash notes":         {HashNotes: true},
		"no keep-alive":      {Disabled: []string{"KEEP-ALIVE"}},
		"no OPTS SENDFILE":   {Disabled: []string{"FEAT"}},
		"working SIZE, APPE": {WorkingSIZE: true, WorkingAPPE: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testOperations(t, uftptest.Start(t, uftptest.Config{Quirks: q}))
		})
	}
}

func testOperations(t *testing.T, s *uftptest.Server, options ...func(*uftp.Config)) {
	c := open(t, s, options...)
	ctx := t.Context()
	check(t, c.Connect(ctx))

	t.Run("stat", func(t *testing.T) {
		s.WriteFile(t, "stat.txt", []byte("0123456789"))
		when := time.Date(2021, 7, 1, 12, 30, 15, 0, time.UTC)
		check(t, os.Chtimes(filepath.Join(s.Dir(), "stat.txt"), when, when))
		check(t, os.Chmod(filepath.Join(s.Dir(), "stat.txt"), 0o640))
		got := ok[uftp.Info](t)(c.Stat(ctx, "stat.txt"))
		got.ModTime = got.ModTime.UTC()
		want := uftp.Info{Name: "stat.txt", Size: 10, Mode: 0o640, ModTime: when, Access: 6}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		_, err := c.Stat(ctx, "absent")
		wantErr(t, err, fs.ErrNotExist)
		_, err = c.Stat(ctx, "stat.txt/x")
		wantErr(t, err, fs.ErrNotExist)
		if root := ok[uftp.Info](t)(c.Stat(ctx, "")); !root.IsDir() || root.Name != "." {
			t.Errorf("root is %+v", root)
		}
	})

	t.Run("directories", func(t *testing.T) {
		check(t, c.Mkdir(ctx, "dir"))
		wantErr(t, c.Mkdir(ctx, "dir"), fs.ErrExist, syscall.EEXIST)
		wantErr(t, c.Mkdir(ctx, "no/dir"), fs.ErrNotExist)
		ok[uftp.Info](t)(c.Create(ctx, "dir/file"))
		wantErr(t, c.Rmdir(ctx, "dir"), syscall.ENOTEMPTY)
		wantErr(t, c.Rmdir(ctx, "dir/file"), syscall.ENOTDIR)
		wantErr(t, c.Remove(ctx, "dir"), syscall.EISDIR)
		check(t, c.Remove(ctx, "dir/file"))
		wantErr(t, c.Remove(ctx, "dir/file"), fs.ErrNotExist)
		check(t, c.Rmdir(ctx, "dir"))
		wantErr(t, c.Rmdir(ctx, "dir"), fs.ErrNotExist)
		wantErr(t, c.Rmdir(ctx, "."), fs.ErrInvalid)
	})

	t.Run("rename", func(t *testing.T) {
		s.WriteFile(t, "from", []byte("new"))
		s.WriteFile(t, "to", []byte("old"))
		check(t, c.Rename(ctx, "from", "to"))
		if got := local(t, s, "to"); string(got) != "new" {
			t.Errorf("content %q", got)
		}
		wantErr(t, c.Rename(ctx, "from", "to"), fs.ErrNotExist)
	})

	t.Run("list", func(t *testing.T) {
		check(t, c.Mkdir(ctx, "list"))
		if got := ok[[]uftp.Info](t)(c.List(ctx, "list")); len(got) != 0 {
			t.Errorf("empty directory lists as %v", got)
		}
		s.WriteFile(t, "list/a b", []byte("12"))
		s.WriteFile(t, "list/ c ", []byte("123"))
		check(t, c.Mkdir(ctx, "list/sub"))
		for name, month := range map[string]time.Month{"a b": 1, " c ": 7, "sub": 3} {
			p := filepath.Join(s.Dir(), "list", name)
			when := time.Date(2024, month, 10, 11, 12, 13, 0, time.UTC)
			check(t, os.Chtimes(p, when, when))
			check(t, os.Chmod(p, 0o755))
		}
		got := ok[[]uftp.Info](t)(c.List(ctx, "list"))
		for i := range got {
			got[i].ModTime = got[i].ModTime.UTC()
			if got[i].IsDir() {
				got[i].Size = 0
			}
		}
		slices.SortFunc(got, func(a, b uftp.Info) int { return strings.Compare(a.Name, b.Name) })
		want := []uftp.Info{
			{Name: " c ", Size: 3, Mode: 0o755, Access: 7, ModTime: time.Date(2024, 7, 10, 11, 12, 13, 0, time.UTC)},
			{Name: "a b", Size: 2, Mode: 0o755, Access: 7, ModTime: time.Date(2024, 1, 10, 11, 12, 13, 0, time.UTC)},
			{Name: "sub", Mode: fs.ModeDir | 0o755, Access: 7, ModTime: time.Date(2024, 3, 10, 11, 12, 13, 0, time.UTC)},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		_, err := c.List(ctx, "absent")
		wantErr(t, err, fs.ErrNotExist)
		_, err = c.List(ctx, "list/a b")
		wantErr(t, err, syscall.ENOTDIR)
	})

	t.Run("read", func(t *testing.T) {
		data := pattern(3<<20+17, 1)
		s.WriteFile(t, "big", data)
		for _, tt := range []struct {
			name   string
			off, n int
		}{
			{"start", 0, 100}, {"middle", 1 << 20, 1 << 20}, {"byte one", 1, 1}, {"all", 0, len(data)},
			{"up to the end", len(data) - 10, 10}, {"over the end", len(data) - 10, 20},
			{"at the end", len(data), 10}, {"behind the end", len(data) + 100, 10}, {"after that", 5, 10},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p := make([]byte, tt.n)
				n, err := c.ReadAt(ctx, "big", p, int64(tt.off))
				r := bytes.NewReader(data)
				q := make([]byte, tt.n)
				wantN, wantEOF := r.ReadAt(q, int64(tt.off))
				if n != wantN || err != wantEOF || !bytes.Equal(p[:n], q[:n]) { //nolint:errorlint // exactly io.EOF
					t.Errorf("got %d, %v, right bytes %v; want %d, %v", n, err, bytes.Equal(p[:n], q[:n]), wantN, wantEOF)
				}
			})
		}
		_, err := c.ReadAt(ctx, "absent", make([]byte, 5), 0)
		wantErr(t, err, fs.ErrNotExist)
		check(t, c.Mkdir(ctx, "readdir"))
		_, err = c.ReadAt(ctx, "readdir", make([]byte, 5), 0)
		wantErr(t, err, syscall.EISDIR)
		_, err = c.ReadAt(ctx, "big", make([]byte, 5), -1)
		wantErr(t, err, fs.ErrInvalid)
		s.WriteFile(t, "empty", nil)
		if n, err := c.ReadAt(ctx, "empty", make([]byte, 5), 0); n != 0 || err != io.EOF { //nolint:errorlint // exactly io.EOF
			t.Errorf("empty file: %d, %v", n, err)
		}
	})

	t.Run("write", func(t *testing.T) {
		want := []byte{}
		for _, w := range []struct{ off, n int }{{0, 10}, {5, 10}, {1, 1}, {30, 5}, {1 << 20, 3 << 20}, {100, 1}} {
			data := pattern(w.n, uint64(w.off))
			if n, err := c.WriteAt(ctx, "written", data, int64(w.off)); n != w.n || err != nil {
				t.Fatalf("write %d at %d: %d, %v", w.n, w.off, n, err)
			}
			if need := w.off + w.n; need > len(want) {
				want = append(want, make([]byte, need-len(want))...)
			}
			copy(want[w.off:], data)
			if !bytes.Equal(local(t, s, "written"), want) {
				t.Fatalf("wrong content after write of %d at %d", w.n, w.off)
			}
		}
		if i := ok[uftp.Info](t)(c.Create(ctx, "written")); i.Size != 0 || i.Name != "written" || i.Mode&0o600 != 0o600 || i.ModTime.IsZero() {
			t.Errorf("created: %+v", i)
		}
		if got := local(t, s, "written"); len(got) != 0 {
			t.Errorf("%d bytes after Create", len(got))
		}
		_, err := c.WriteAt(ctx, "no/file", []byte("x"), 0)
		wantErr(t, err, fs.ErrNotExist)
		_, err = c.Create(ctx, "no/file")
		wantErr(t, err, fs.ErrNotExist)
		check(t, c.Mkdir(ctx, "writedir"))
		_, err = c.WriteAt(ctx, "writedir", []byte("x"), 0)
		wantErr(t, err, syscall.EISDIR)
	})

	t.Run("truncate", func(t *testing.T) {
		data := pattern(5<<20, 3)
		s.WriteFile(t, "cut", data)
		check(t, os.Chmod(filepath.Join(s.Dir(), "cut"), 0o640))
		for _, size := range []int{5 << 20, 4<<20 + 1, 1000, 3000, 1, 0, 10} {
			check(t, c.Truncate(ctx, "cut", int64(size)))
			if size < len(data) {
				data = data[:size]
			} else {
				data = append(slices.Clip(data), make([]byte, size-len(data))...)
			}
			if !bytes.Equal(local(t, s, "cut"), data) {
				t.Fatalf("wrong content after truncation to %d", size)
			}
		}
		if i := ok[uftp.Info](t)(c.Stat(ctx, "cut")); i.Mode != 0o640 {
			t.Errorf("mode is %v", i.Mode)
		}
		wantErr(t, c.Truncate(ctx, "absent", 0), fs.ErrNotExist)
		if m, _ := filepath.Glob(filepath.Join(s.Dir(), ".uftp-*")); len(m) > 0 {
			t.Errorf("left behind: %v", m)
		}
	})

	t.Run("hash", func(t *testing.T) {
		s.WriteFile(t, "hash", []byte("0123456789"))
		for _, tt := range []struct {
			algo   string
			off, n int64
			want   string
		}{
			{"MD5", 0, -1, "781e5e245d69b566979b86e28d23f2c7"},
			{"MD5", 2, 3, "81b073de9370ea873f548e31b8adc081"},
			{"SHA-1", 0, 10, "87acec17cd9dcd20a716cc2cf67417b71c8a7016"},
			{"MD5", 5, -1, "f44f4964e6c998dee827110c5e4bd83f"},
		} {
			got, err := c.Hash(ctx, "hash", tt.algo, tt.off, tt.n)
			if err != nil {
				t.Errorf("%v: %v", tt, err)
			}
			if tt.want != "" && len(got) != len(tt.want) {
				t.Errorf("%v: %q", tt, got)
			}
		}
		_, err := c.Hash(ctx, "absent", "MD5", 0, -1)
		wantErr(t, err, fs.ErrNotExist)
		_, err = c.Hash(ctx, "hash", "CRC", 0, -1)
		wantErr(t, err, errors.ErrUnsupported)
	})

	t.Run("streams", func(t *testing.T) {
		data := pattern(2<<20+3, 4)
		if n, err := c.Put(ctx, "stream", bytes.NewReader(data)); err != nil || n != int64(len(data)) {
			t.Fatal(n, err)
		}
		r, info, err := c.Get(ctx, "stream")
		check(t, err)
		if got := ok[[]byte](t)(io.ReadAll(r)); !bytes.Equal(got, data) || info.Size != int64(len(data)) {
			t.Errorf("got %d bytes, info %+v", len(got), info)
		}
		check(t, r.Close())
		check(t, second(c.Put(ctx, "stream", strings.NewReader(""))))
		r, _, err = c.Get(ctx, "stream")
		check(t, err)
		if got := ok[[]byte](t)(io.ReadAll(r)); len(got) != 0 {
			t.Errorf("got %d bytes", len(got))
		}
		r, _, err = c.Get(ctx, "big")
		check(t, err)
		_, err = io.ReadFull(r, make([]byte, 1000))
		check(t, err)
		check(t, r.Close())
		_, _, err = c.Get(ctx, "absent")
		wantErr(t, err, fs.ErrNotExist)
		_, _, err = c.Get(ctx, "readdir")
		wantErr(t, err, syscall.EISDIR)
		_, err = c.Put(ctx, "no/file", strings.NewReader("x"))
		wantErr(t, err, fs.ErrNotExist)
		broken := io.MultiReader(strings.NewReader("part"), errReader{io.ErrNoProgress})
		_, err = c.Put(ctx, "broken", broken)
		wantErr(t, err, io.ErrNoProgress)
	})

	t.Run("permissions", func(t *testing.T) {
		s.WriteFile(t, "secret", []byte("x"))
		check(t, c.Mkdir(ctx, "locked"))
		check(t, c.Chmod(ctx, "secret", 0))
		check(t, c.Chmod(ctx, "locked", 0))
		if os.Geteuid() == 0 && !s.Real() {
			t.Skip("root may read everything")
		}
		_, err := c.ReadAt(ctx, "secret", make([]byte, 1), 0)
		wantErr(t, err, fs.ErrPermission)
		_, err = c.Hash(ctx, "secret", "MD5", 0, -1)
		wantErr(t, err, fs.ErrPermission)
		_, _, err = c.Get(ctx, "secret")
		wantErr(t, err, fs.ErrPermission)
		_, err = c.WriteAt(ctx, "secret", []byte("y"), 0)
		wantErr(t, err, fs.ErrPermission)
		_, err = c.List(ctx, "locked")
		wantErr(t, err, fs.ErrPermission)
		wantErr(t, c.Mkdir(ctx, "locked/x"), fs.ErrPermission)
		check(t, c.Chmod(ctx, "locked", 0o700))
	})

	if st := c.Stats(); st.Retries != 0 {
		t.Errorf("retries: %+v", st)
	}
}

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }

func second(_ int64, err error) error { return err }

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", []byte("x"))
	c := open(t, s, func(c *uftp.Config) { c.ReadOnly = true })
	ctx := t.Context()
	for name, op := range map[string]func() error{
		"mkdir":    func() error { return c.Mkdir(ctx, "d") },
		"rmdir":    func() error { return c.Rmdir(ctx, "d") },
		"remove":   func() error { return c.Remove(ctx, "f") },
		"rename":   func() error { return c.Rename(ctx, "f", "g") },
		"create":   func() error { _, err := c.Create(ctx, "f"); return err },
		"truncate": func() error { return c.Truncate(ctx, "f", 0) },
		"chmod":    func() error { return c.Chmod(ctx, "f", 0o600) },
		"chtimes":  func() error { return c.Chtimes(ctx, "f", time.Now()) },
		"write":    func() error { _, err := c.WriteAt(ctx, "f", []byte("y"), 0); return err },
		"put":      func() error { _, err := c.Put(ctx, "f", strings.NewReader("y")); return err },
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, op(), fs.ErrPermission, syscall.EROFS) })
	}
	if got := local(t, s, "f"); string(got) != "x" {
		t.Errorf("content %q", got)
	}
}
