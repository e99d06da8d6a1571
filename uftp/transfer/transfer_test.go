package transfer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// open returns a client of s at its directory.
func open(tb testing.TB, s *uftptest.Server) *uftp.Client {
	tb.Helper()
	user := uftptest.DefaultUser()
	c, err := uftp.New(uftp.Config{
		AuthURL: s.AuthURL(), BaseDir: s.Dir(), MaxSessions: 4,
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: user.Name, Password: uftp.Secret(user.Password)},
			CABundle:   s.CABundle(),
		},
	})
	check(tb, err)
	tb.Cleanup(func() { check(tb, c.Close()) })
	return c
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// pattern returns n bytes that differ by seed.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// files are a tree's contents: a hash for each file, "dir" for each directory.
type files map[string]string

func readTree(tb testing.TB, dir string) files {
	tb.Helper()
	got := make(files)
	check(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			got[name] = "dir"
			return nil
		}
		data, err := os.ReadFile(path)
		got[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	}))
	return got
}

// recorder is an Observer that remembers.
type recorder struct {
	mu       sync.Mutex
	done     map[string]int // by action
	failed   map[string]error
	bytes    int64
	old      int64
	onMoved  func()
	finished []string
}

func newRecorder() *recorder {
	return &recorder{done: make(map[string]int), failed: make(map[string]error)}
}

func (r *recorder) Found(transfer.Item) {}

func (r *recorder) Moved(_ transfer.Item, n int64, old bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old {
		r.old += n
	} else {
		r.bytes += n
	}
	if r.onMoved != nil {
		r.onMoved()
	}
}

func (r *recorder) Done(item transfer.Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed[item.To] = err
		return
	}
	r.done[item.Action.String()]++
	r.finished = append(r.finished, item.To)
}

// names are those that are hard to carry.
func names() []string {
	return []string{
		"plain", "with blank", "two  blanks ", " leading", "-rf", "--", "ümläut", "日本", "colon:name", "quote'\"", "*star?[x]",
		"back\\slash", "percent%20", "tab\tname", ".hidden", "semi;colon", "$HOME", "a&b=c",
	}
}

func makeTree(tb testing.TB, write func(name string, data []byte)) {
	tb.Helper()
	for i, name := range names() {
		write("names/"+name, pattern(100+i, uint64(i)))
		write("dirs/"+name+"/file", pattern(10, uint64(i)))
	}
	write("empty", nil)
	write("big", pattern(20<<20+17, 99))
	for i := range 200 {
		write(fmt.Sprintf("many/%03d", i), pattern(1000+i, uint64(i)))
	}
}

func localWriter(tb testing.TB, dir string) func(string, []byte) {
	return func(name string, data []byte) {
		path := filepath.Join(dir, name)
		check(tb, os.MkdirAll(filepath.Dir(path), 0o755))
		check(tb, os.WriteFile(path, data, 0o644))
	}
}

func TestDownload(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		makeTree(t, func(name string, data []byte) { s.WriteFile(t, name, data) })
		dir := t.TempDir()
		rec := newRecorder()
		sum, err := transfer.Run(t.Context(), transfer.Job{
			From: transfer.Remote{Client: open(t, s)}, To: transfer.Local{Root: dir},
			Pairs: []transfer.Pair{{From: ".", To: "copy"}}, Recursive: true, Observer: rec,
		})
		check(t, err)
		if diff := cmp.Diff(readTree(t, s.Dir()), readTree(t, filepath.Join(dir, "copy"))); diff != "" {
			t.Error(diff)
		}
		if sum.Bytes != rec.bytes || int(sum.Files) != rec.done["copy"] || sum.Failed != 0 {
			t.Errorf("summary %+v, observer saw %d bytes, %v", sum, rec.bytes, rec.done)
		}
	})
}

func TestUpload(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		dir := t.TempDir()
		makeTree(t, localWriter(t, dir))
		old := time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)
		check(t, os.Chmod(filepath.Join(dir, "names/with blank"), 0o640))
		for _, name := range []string{"names/with blank", "big", "empty", "dirs/plain"} {
			check(t, os.Chtimes(filepath.Join(dir, name), old, old))
		}
		rec := newRecorder()
		_, err := transfer.Run(t.Context(), transfer.Job{
			From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)}, Observer: rec,
			Pairs: []transfer.Pair{{From: ".", To: "copy"}}, Recursive: true, Times: true, Modes: true, Verify: "MD5",
		})
		if err != nil {
			t.Fatal(err, rec.failed)
		}
		copied := filepath.Join(s.Dir(), "copy")
		if diff := cmp.Diff(readTree(t, dir), readTree(t, copied)); diff != "" {
			t.Error(diff)
		}
		for _, name := range []string{"names/with blank", "big", "empty", "dirs/plain"} {
			fi, err := os.Stat(filepath.Join(copied, name))
			check(t, err)
			if !fi.ModTime().Equal(old) {
				t.Errorf("%s: time %v, want %v", name, fi.ModTime(), old)
			}
			if name == "names/with blank" && fi.Mode() != 0o640 {
				t.Errorf("%s: mode %v", name, fi.Mode())
			}
		}
	})
}

// TestOneBadFile has files among many that cannot be copied.
func TestOneBadFile(t *testing.T) {
	dir := t.TempDir()
	s := uftptest.Start(t, uftptest.Config{})
	write := localWriter(t, dir)
	for i := range 300 {
		write(fmt.Sprintf("d/%03d", i), pattern(100, uint64(i)))
	}
	write("d/with\nnewline", pattern(10, 1))
	write("d/not-utf8-\xff", pattern(10, 1))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "d/dangling")))
	check(t, os.Symlink(".", filepath.Join(dir, "d/loop")))
	s.WriteFile(t, "d/150/in-the-way", nil)

	rec := newRecorder()
	sum, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)},
		Pairs: []transfer.Pair{{From: "d", To: "d"}}, Recursive: true, Observer: rec,
	})
	if !errors.Is(err, transfer.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	want := []string{"d/150", "d/dangling", "d/loop", "d/not-utf8-\xff", "d/with\nnewline"}
	if got := slices.Sorted(maps.Keys(rec.failed)); !slices.Equal(got, want) {
		t.Errorf("failed: %q", rec.failed)
	}
	if sum.Failed != 5 || sum.Files != 299 {
		t.Errorf("summary %+v", sum)
	}
	if n := len(readTree(t, filepath.Join(s.Dir(), "d"))); n != 301 {
		t.Errorf("%d entries on the server, want 301", n)
	}
}

// TestResume interrupts a transfer and does it again: only what was not surely
// there is moved again.
func TestResume(t *testing.T) {
	const size = 164 << 20
	const window = 128 << 20
	for _, direction := range []string{"download", "upload"} {
		t.Run(direction, func(t *testing.T) {
			s := uftptest.Start(t, uftptest.Config{})
			dir := t.TempDir()
			job := transfer.Job{
				From: transfer.Remote{Client: open(t, s)}, To: transfer.Local{Root: dir},
				Pairs: []transfer.Pair{{From: "f", To: "f"}}, Parallel: 3, Verify: "SHA-256",
			}
			data := pattern(size, 7)
			target := filepath.Join(dir, "f")
			if direction == "upload" {
				job.From, job.To = job.To, job.From
				target = filepath.Join(s.Dir(), "f")
				check(t, os.WriteFile(filepath.Join(dir, "f"), data, 0o644))
			} else {
				s.WriteFile(t, "f", data)
			}

			ctx, cancel := context.WithCancel(t.Context())
			rec := newRecorder()
			rec.onMoved = func() {
				if rec.bytes > size*3/4 {
					cancel()
				}
			}
			job.Observer = rec
			if _, err := transfer.Run(ctx, job); !errors.Is(err, context.Canceled) {
				t.Fatalf("interrupted: %v", err)
			}
			if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is something under the final name: %v", err)
			}

			rec = newRecorder()
			job.Observer = rec
			_, err := transfer.Run(t.Context(), job)
			check(t, err)
			if rec.old < size*3/4-window || rec.old+rec.bytes != size {
				t.Errorf("%d bytes kept, %d moved", rec.old, rec.bytes)
			}
			if got := readTree(t, filepath.Dir(target)); len(got) != 1 || got["f"] != fmt.Sprintf("%x", sha256.Sum256(data)) {
				t.Errorf("target: %v", got)
			}
		})
	}
}

func TestExistingAndDelete(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		dir := t.TempDir()
		write := localWriter(t, dir)
		write("same", []byte("same"))
		write("changed", []byte("new!"))
		write("longer", []byte("longer"))
		write("sub/new", []byte("new"))
		s.WriteFile(t, "t/same", []byte("same"))
		s.WriteFile(t, "t/changed", []byte("old!"))
		s.WriteFile(t, "t/longer", []byte("long"))
		s.WriteFile(t, "t/gone/deep/file", []byte("x"))
		s.WriteFile(t, "t/gone file", []byte("x"))
		s.WriteFile(t, "t/.uftp-part-0123456789", []byte("stale"))
		then := time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC)
		check(t, os.Chtimes(filepath.Join(dir, "same"), then, then))
		check(t, os.Chtimes(filepath.Join(s.Dir(), "t/same"), then, then))
		check(t, os.Chtimes(filepath.Join(s.Dir(), "t/changed"), then, then))
		s.Chown(t)
		job := transfer.Job{
			From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)},
			Pairs: []transfer.Pair{{From: ".", To: "t"}}, Recursive: true,
			Existing: transfer.KeepSame, Times: true, Delete: true,
		}
		before := readTree(t, s.Dir())
		dry := job
		dry.DryRun = true
		sum, err := transfer.Run(t.Context(), dry)
		check(t, err)
		if diff := cmp.Diff(before, readTree(t, s.Dir())); diff != "" {
			t.Errorf("a dry run changed: %s", diff)
		}
		want := transfer.Summary{Files: 3, Dirs: 1, Skipped: 1, Deleted: 5}
		if diff := cmp.Diff(want, sum); diff != "" {
			t.Errorf("dry run: %s", diff)
		}
		sum, err = transfer.Run(t.Context(), job)
		check(t, err)
		want.Bytes = 4 + 6 + 3
		if diff := cmp.Diff(want, sum); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(readTree(t, dir), readTree(t, filepath.Join(s.Dir(), "t"))); diff != "" {
			t.Error(diff)
		}
		sum, err = transfer.Run(t.Context(), job)
		check(t, err)
		if diff := cmp.Diff(transfer.Summary{Skipped: 4}, sum); diff != "" {
			t.Errorf("again: %s", diff)
		}
		job.Existing = transfer.KeepHash
		sum, err = transfer.Run(t.Context(), job)
		check(t, err)
		if diff := cmp.Diff(transfer.Summary{Skipped: 4}, sum); diff != "" {
			t.Errorf("by hash: %s", diff)
		}
	})
}

// TestChangedSource has sources that are not what the listing said.
func TestChangedSource(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", pattern(12<<20, 1))
	s.WriteFile(t, "other", nil)
	c := open(t, s)
	for name, change := range map[string]func(){
		"shrinks": func() { check(t, os.Truncate(filepath.Join(s.Dir(), "f"), 100)) },
		"grows":   func() { s.WriteFile(t, "f", pattern(13<<20, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			s.WriteFile(t, "f", pattern(12<<20, 1))
			dir := t.TempDir()
			rec := newRecorder()
			var once sync.Once
			rec.onMoved = func() { once.Do(change) }
			_, err := transfer.Run(t.Context(), transfer.Job{
				From: transfer.Remote{Client: c}, To: transfer.Local{Root: dir},
				Pairs: []transfer.Pair{{From: "f", To: "f"}, {From: "other", To: "other"}}, Parallel: 1, Observer: rec,
			})
			if !errors.Is(err, transfer.ErrIncomplete) || !errors.Is(rec.failed[filepath.Join(dir, "f")], transfer.ErrChanged) {
				t.Errorf("error %v, item %v", err, rec.failed)
			}
			if got := readTree(t, dir); len(got) != 1 {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

// TestLimit copies no faster than it may.
func TestLimit(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", pattern(200<<10, 1))
	begin := time.Now()
	_, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Remote{Client: open(t, s)}, To: transfer.Local{Root: t.TempDir()},
		Pairs: []transfer.Pair{{From: "f", To: "f"}}, Limit: 400 << 10,
	})
	check(t, err)
	// The first tenth of a second's worth is there at once.
	if took := time.Since(begin); took < 350*time.Millisecond {
		t.Errorf("200 KiB at 400 KiB/s took %v", took)
	}
}

func TestGlob(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	for _, name := range []string{"a/x1.dat", "a/x2.dat", "a/y", "b/x3.dat", "b/.x4.dat", "c", "lit*eral", "a/sub/x5.dat"} {
		s.WriteFile(t, name, nil)
	}
	tree := transfer.Remote{Client: open(t, s)}
	for pattern, want := range map[string][]string{
		"*/x?.dat":  {"a/x1.dat", "a/x2.dat", "b/x3.dat"},
		"b/.*":      {"b/.x4.dat"},
		"a/[xy]*":   {"a/x1.dat", "a/x2.dat", "a/y"},
		`lit\*eral`: {"lit*eral"},
		"*":         {"a", "b", "c", "lit*eral"},
		"c/*":       nil,
		"none/*":    nil,
	} {
		got, err := transfer.Glob(t.Context(), tree, pattern)
		if want == nil {
			if err == nil {
				t.Errorf("%s: found %v", pattern, got)
			}
			continue
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", pattern, got, err, want)
		}
	}
	if _, err := transfer.Glob(t.Context(), tree, "[x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("bad pattern: %v", err)
	}
}
