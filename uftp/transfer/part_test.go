package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// largeFile makes a file that differs from others in its first byte, last modified
// at the time.
func largeFile(tb testing.TB, path string, first byte, size int64, mtime time.Time) {
	tb.Helper()
	check(tb, os.MkdirAll(filepath.Dir(path), 0o755))
	check(tb, os.WriteFile(path, []byte{first}, 0o644))
	check(tb, os.Truncate(path, size))
	check(tb, os.Chtimes(path, mtime, mtime))
}

// TestResumeOfAnother interrupts a copy, and then copies another file of the same
// name, size and second to the same place: nothing of the first one is in it.
func TestResumeOfAnother(t *testing.T) {
	const size = 200 << 20
	then := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	type source struct {
		tree transfer.Tree
		name string
	}
	for name, sources := range map[string]func(t *testing.T) (first, second func() source){
		"another directory": func(t *testing.T) (first, second func() source) {
			s := uftptest.Start(t, uftptest.Config{})
			largeFile(t, filepath.Join(s.Dir(), "a/f"), 'a', size, then)
			largeFile(t, filepath.Join(s.Dir(), "b/f"), 'b', size, then)
			tree := transfer.Remote{Client: open(t, s)}
			return func() source { return source{tree, "a/f"} }, func() source { return source{tree, "b/f"} }
		},
		"another server": func(t *testing.T) (first, second func() source) {
			on := func(content byte) func() source {
				s := uftptest.Start(t, uftptest.Config{})
				largeFile(t, filepath.Join(s.Dir(), "f"), content, size, then)
				return func() source { return source{transfer.Remote{Client: open(t, s), Prefix: "TEST:"}, "f"} }
			}
			return on('a'), on('b')
		},
		"another working directory": func(t *testing.T) (first, second func() source) {
			in := func(content byte) func() source {
				dir := t.TempDir()
				largeFile(t, filepath.Join(dir, "f"), content, size, then)
				return func() source { t.Chdir(dir); return source{transfer.Local{}, "f"} }
			}
			return in('a'), in('b')
		},
		"the same second": func(t *testing.T) (first, second func() source) {
			dir := t.TempDir()
			at := func(content byte, mtime time.Time) func() source {
				return func() source {
					largeFile(t, filepath.Join(dir, "f"), content, size, mtime)
					return source{transfer.Local{Root: dir}, "f"}
				}
			}
			return at('a', then), at('b', then.Add(time.Millisecond))
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := sources(t)
			target := t.TempDir()
			job := transfer.Job{To: transfer.Local{Root: target}}
			run := func(ctx context.Context, from source, rec *recorder) error {
				job.From, job.Observer = from.tree, rec
				job.Pairs = []transfer.Pair{{From: from.name, To: "copy"}}
				_, err := transfer.Run(ctx, job)
				return err
			}
			ctx, cancel := context.WithCancel(t.Context())
			rec := newRecorder()
			rec.onMoved = func() {
				if rec.bytes > size*3/4 {
					cancel()
				}
			}
			if err := run(ctx, first(), rec); !errors.Is(err, context.Canceled) {
				t.Fatalf("interrupted: %v", err)
			}
			if got := readTree(t, target); len(got) != 1 {
				t.Fatalf("no part: %v", got)
			}
			rec = newRecorder()
			check(t, run(t.Context(), second(), rec))
			data, err := os.ReadFile(filepath.Join(target, "copy"))
			check(t, err)
			if len(data) != size || data[0] != 'b' || rec.old != 0 {
				t.Errorf("%d bytes beginning with %q, of which %d were there", len(data), data[0], rec.old)
			}
		})
	}
}

// TestChangedWithinSecond has a local source that is rewritten while it is copied,
// in the second of its time of modification.
func TestChangedWithinSecond(t *testing.T) {
	const size = 20 << 20
	then := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	largeFile(t, file, 'a', size, then)
	rec := newRecorder()
	rec.onMoved = func() {
		later := then.Add(time.Millisecond)
		check(t, os.Chtimes(file, later, later))
	}
	_, err := transfer.Run(t.Context(), transfer.Job{
		From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, uftptest.Start(t, uftptest.Config{}))},
		Pairs: []transfer.Pair{{From: "f", To: "f"}}, Observer: rec, Parallel: 1,
	})
	if !errors.Is(err, transfer.ErrChanged) {
		t.Errorf("error %v", err)
	}
}

// TestSameSecond leaves alone what has the time of a source to the second: servers
// know no more of it.
func TestSameSecond(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	dir := t.TempDir()
	then := time.Date(2024, 5, 6, 7, 8, 9, 999_999_999, time.UTC)
	for _, existing := range []transfer.Existing{transfer.KeepSame, transfer.KeepLate} {
		largeFile(t, filepath.Join(dir, "f"), 'a', 1, then)
		job := transfer.Job{
			From: transfer.Local{Root: dir}, To: transfer.Remote{Client: open(t, s)}, Existing: existing, Times: true,
			Pairs: []transfer.Pair{{From: "f", To: "f"}},
		}
		check(t, os.RemoveAll(filepath.Join(s.Dir(), "f")))
		for _, want := range []transfer.Summary{{Files: 1, Bytes: 1}, {Skipped: 1}} {
			if sum, err := transfer.Run(t.Context(), job); err != nil || sum != want {
				t.Errorf("%v: %+v, %v; want %+v", existing, sum, err, want)
			}
		}
		job.From, job.To = job.To, job.From
		if sum, err := transfer.Run(t.Context(), job); err != nil || sum.Skipped != 1 {
			t.Errorf("%v back: %+v, %v", existing, sum, err)
		}
	}
}
