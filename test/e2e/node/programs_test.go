package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPrograms runs the programs people run on their data, each in a directory
// of its own on a live mount.
func TestPrograms(t *testing.T) {
	programs := []struct {
		name string
		need string // the executable the case needs
		run  func(t *testing.T, mnt, local string)
	}{
		{"cp", "cp", cpTree},
		{"tar", "tar", tarTree},
		{"rsync", "rsync", rsyncTree},
		{"git", "git", gitClone},
		{"sqlite", "sqlite3", sqlite},
		{"dd", "dd", ddSeeks},
		{"find", "find", findTree},
		{"readers", "", parallelReaders},
		{"editor", "", editorRename},
		{"append", "sh", shellAppend},
	}
	eachMount(t, func(t *testing.T, mnt string) {
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				if p.need != "" {
					if _, err := exec.LookPath(p.need); err != nil {
						t.Skipf("%s is not installed", p.need)
					}
				}
				dir := filepath.Join(mnt, p.name)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				p.run(t, dir, t.TempDir())
			})
		}
	})
}

// run executes a program with a deadline, in dir, with a clean environment.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// makeTree fills dir with files whose names and contents are awkward.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	names := []string{
		"plain.txt", "with blank.txt", " leading", "trailing ", "-dash", "--help", "Grüße.txt", "数据.bin",
		"quote\"'s", "semi;colon", "eq=ual", "back\\slash", "star*", "tab\there", "sub/deep/er/file",
		"dir with blank/a b", " dir/ x ", "empty", "dot./..x", "100%",
	}
	for i, name := range names {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, i*7919)
		if name == "empty" {
			data = nil
		}
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o640); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2001, 2, 3, 4, 5, i, 0, time.UTC)
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "plain.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// sameMetadata checks modes and times, which diff does not look at.
func sameMetadata(t *testing.T, want, got string) {
	t.Helper()
	err := filepath.WalkDir(want, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(want, p)
		if err != nil {
			return err
		}
		w, err := os.Stat(p)
		if err != nil {
			return err
		}
		g, err := os.Stat(filepath.Join(got, rel))
		if err != nil {
			return err
		}
		if w.Mode() != g.Mode() || w.Size() != g.Size() || !w.ModTime().Equal(g.ModTime()) {
			t.Errorf("%q: got %v %d %v, want %v %d %v", rel, g.Mode(), g.Size(), g.ModTime(), w.Mode(), w.Size(), w.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func cpTree(t *testing.T, mnt, local string) {
	src := filepath.Join(local, "src")
	makeTree(t, src)
	// The owner is not ours to set on the far side: --no-preserve=ownership is
	// what a person who is not root gets anyway.
	run(t, local, "cp", "-a", "--no-preserve=ownership", "src", mnt)
	run(t, local, "diff", "-r", "src", filepath.Join(mnt, "src"))
	sameMetadata(t, src, filepath.Join(mnt, "src"))
	run(t, local, "cp", "-a", "--no-preserve=ownership", filepath.Join(mnt, "src"), "back")
	run(t, local, "diff", "-r", "src", "back")
	sameMetadata(t, src, filepath.Join(local, "back"))
}

func tarTree(t *testing.T, mnt, local string) {
	src := filepath.Join(local, "src")
	makeTree(t, src)
	run(t, local, "tar", "-cf", filepath.Join(mnt, "t.tar"), "src")
	run(t, mnt, "tar", "--no-same-owner", "-xf", "t.tar")
	run(t, local, "diff", "-r", "src", filepath.Join(mnt, "src"))
	sameMetadata(t, src, filepath.Join(mnt, "src"))
	run(t, mnt, "tar", "-cf", filepath.Join(local, "u.tar"), "src")
	run(t, local, "tar", "-df", "u.tar")
}

func rsyncTree(t *testing.T, mnt, local string) {
	src := filepath.Join(local, "src")
	makeTree(t, src)
	run(t, local, "rsync", "-a", "--no-owner", "--no-group", "src", mnt)
	run(t, local, "diff", "-r", "src", filepath.Join(mnt, "src"))
	sameMetadata(t, src, filepath.Join(mnt, "src"))
	if out := run(t, local, "rsync", "-ai", "--no-owner", "--no-group", "src", mnt); strings.TrimSpace(out) != "" {
		t.Errorf("a second rsync still finds differences:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(src, "plain.txt"), []byte("changed\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, local, "rsync", "-a", "--no-owner", "--no-group", "--inplace", "--delete", "src", mnt)
	run(t, local, "diff", "-r", "src", filepath.Join(mnt, "src"))
}

func gitClone(t *testing.T, mnt, local string) {
	src := filepath.Join(local, "src")
	makeTree(t, src)
	run(t, src, "git", "init", "-q", "-b", "main")
	run(t, src, "git", "add", "-A")
	run(t, src, "git", "commit", "-q", "-m", "one")
	run(t, mnt, "git", "clone", "-q", "--no-hardlinks", src, "clone")
	clone := filepath.Join(mnt, "clone")
	run(t, clone, "git", "fsck", "--strict")
	if out := run(t, clone, "git", "status", "--porcelain"); out != "" {
		t.Errorf("a fresh clone is dirty:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(clone, "new file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, clone, "git", "add", "-A")
	run(t, clone, "git", "commit", "-q", "-m", "two")
	run(t, clone, "git", "gc", "-q")
	run(t, clone, "git", "fsck", "--strict")
}

func sqlite(t *testing.T, mnt, _ string) {
	// Rollback journal: create, truncate and delete of a second file, fsync and
	// rewriting pages in place.
	run(t, mnt, "sqlite3", "db", "create table t(id integer primary key, v text);"+
		"with recursive n(i) as (select 1 union all select i+1 from n where i<5000) insert into t select i, hex(randomblob(50)) from n;")
	run(t, mnt, "sqlite3", "db", "update t set v='x' where id%7=0; delete from t where id%11=0;")
	got := run(t, mnt, "sqlite3", "db", "pragma integrity_check; select count(*) from t; select count(*) from t where v='x';")
	// 5000 - 454 multiples of 11; 714 multiples of 7 less 64 of 77.
	if want := "ok\n4546\n650\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func ddSeeks(t *testing.T, mnt, local string) {
	data := make([]byte, 1<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(local, "in")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{mnt, local} {
		out := "of=" + filepath.Join(base, "out")
		run(t, local, "dd", "status=none", "if="+in, out, "bs=4k", "seek=300", "count=20", "conv=notrunc")
		run(t, local, "dd", "status=none", "if="+in, out, "bs=1k", "seek=7", "count=99", "skip=5", "conv=notrunc")
		run(t, local, "dd", "status=none", "if="+in, out, "bs=512", "seek=4097", "count=1", "conv=notrunc,fsync")
		run(t, local, "dd", "status=none", "if="+in, out, "bs=100", "seek=12345", "count=1", "oflag=append", "conv=notrunc")
	}
	run(t, local, "cmp", filepath.Join(mnt, "out"), filepath.Join(local, "out"))
	run(t, local, "dd", "status=none", "if="+filepath.Join(mnt, "out"), "of=part", "bs=777", "skip=1600", "count=50")
	run(t, local, "dd", "status=none", "if=out", "of=want", "bs=777", "skip=1600", "count=50")
	run(t, local, "cmp", "part", "want")
}

func findTree(t *testing.T, mnt, local string) {
	for _, base := range []string{mnt, local} {
		makeTree(t, filepath.Join(base, "src"))
	}
	args := []string{"src", "-printf", "%y %P %m\n"}
	list := func(dir string) string {
		lines := strings.Split(run(t, dir, "find", args...), "\n")
		return strings.Join(sorted(lines), "\n")
	}
	if got, want := list(mnt), list(local); got != want {
		t.Errorf("find on the mount:\n%s\nlocally:\n%s", got, want)
	}
	run(t, mnt, "find", "src", "-depth", "-delete")
	if _, err := os.Stat(filepath.Join(mnt, "src")); !os.IsNotExist(err) {
		t.Errorf("after find -delete: %v", err)
	}
}

func parallelReaders(t *testing.T, mnt, _ string) { readersOf(t, mnt, 32<<20+12345, 32, 60) }

// readersOf writes a file and reads it at random from many sides.
func readersOf(t *testing.T, mnt string, size, readers, reads int) {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(mnt, "big")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			f, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			rnd := mrand.New(mrand.NewPCG(1, uint64(r)))
			buf := make([]byte, 300<<10)
			for range reads {
				off := rnd.IntN(size)
				n := min(1+rnd.IntN(len(buf)), size-off)
				if _, err := f.ReadAt(buf[:n], int64(off)); err != nil {
					t.Errorf("read %d at %d: %v", n, off, err)
					return
				}
				if !bytes.Equal(buf[:n], data[off:off+n]) {
					t.Errorf("wrong bytes: %d at %d", n, off)
					return
				}
			}
		})
	}
	wg.Wait()
}

// editorRename saves a file as editors do: a temporary file beside it, synced,
// renamed over it, while a reader holds the old one open.
func editorRename(t *testing.T, mnt, _ string) {
	name := filepath.Join(mnt, "paper.tex")
	if err := os.WriteFile(name, []byte("version 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 20; i++ {
		old, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tmp, err := os.CreateTemp(mnt, ".paper.tex.*")
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("version %d\n%s", i, strings.Repeat("x", i*1000))
		if _, err := tmp.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := tmp.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := tmp.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp.Name(), name); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != text {
			t.Fatalf("version %d: %d bytes, %v", i, len(got), err)
		}
		head := make([]byte, 10)
		if _, err := old.ReadAt(head, 0); err != nil {
			t.Errorf("the old version %d, still open: %v", i-1, err)
		} else if want := fmt.Sprintf("version %d", i-1); !strings.HasPrefix(string(head), want) {
			t.Errorf("the old version, still open: %q, want %q", head, want)
		}
		old.Close()
	}
	entries, err := os.ReadDir(mnt)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func shellAppend(t *testing.T, mnt, local string) {
	script := `for i in $(seq 200); do echo "line $i" >> log; done; sha256sum < log`
	if got, want := run(t, mnt, "sh", "-c", script), run(t, local, "sh", "-c", script); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// randomFile writes n random bytes to path and returns their SHA-256.
func randomFile(t *testing.T, path string, n int64) [sha256.Size]byte {
	t.Helper()
	data := make([]byte, n)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// marked returns a secret that can be told from everything else by grep.
func marked(t *testing.T, what string) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("s3cr3t-%s-%x", what, n)
}
