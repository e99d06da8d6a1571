package fusefs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeTree makes files and directories of all sorts of names and sizes.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, name := range []string{
		"plain", "with blanks in it", " leading", "trailing ", "umlaut-äöü-日本", "-dash", "semi;colon=equals",
		"quote'\"", `back\slash`, "sub dir/a b/c d", "sub dir/empty", "x/y/z/deep", "big",
	} {
		size := rnd.IntN(200_000)
		switch {
		case name == "big":
			size = 9 << 20
		case strings.HasSuffix(name, "empty"):
			size = 0
		}
		data := make([]byte, size)
		for k := range data {
			data[k] = byte(rnd.Uint32())
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := []os.FileMode{0o644, 0o600, 0o755, 0o444}[i%4]
		if err := os.WriteFile(path, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPrograms runs what people use on mounts of each kind of server.
func TestPrograms(t *testing.T) {
	eachServer(t, func(t *testing.T, mount mountFunc) {
		for name, f := range map[string]func(*testing.T, *mounted){
			"copy": testProgramsCopy, "rsync": testProgramsRsync, "git": testProgramsGit,
			"sqlite": testProgramsSQLite, "dd": testProgramsDD, "parallel readers": testProgramsParallelReaders,
		} {
			t.Run(name, func(t *testing.T) { f(t, mount(t, nil)) })
		}
	})
}

// shell runs a script in which $M is the mount.
func (m *mounted) shell(t *testing.T, dir, script string) string {
	t.Helper()
	return command(t, dir, "sh", "-euc", "M="+m.dir+"\n"+script)
}

func testProgramsCopy(t *testing.T, m *mounted) {
	tree := makeTree(t)
	back := t.TempDir()
	m.shell(t, back, fmt.Sprintf(`
		cp -a %[1]s $M/copy
		diff -r %[1]s $M/copy
		cp -a $M/copy back
		diff -r %[1]s back
		tar -C %[1]s -cf - . | (mkdir $M/tar && tar -C $M/tar -xf -)
		tar -C $M/tar -cf all.tar .
		mkdir fromtar && tar -C fromtar -xf all.tar
		diff -r %[1]s fromtar
		mv $M/tar "$M/moved here"
		diff -r %[1]s "$M/moved here"
	`, tree))
	if out := m.shell(t, back, `cd $M/copy && find . -type f -printf '%m %s %Ts %p\n' | sort`); out != command(t, tree, "sh", "-c", `find . -type f -printf '%m %s %Ts %p\n' | sort`) {
		t.Errorf("cp -a kept modes, sizes or times not:\n%s", out)
	}
	m.shell(t, back, `find $M | wc -l; rm -rf $M/*`)
	if left, err := os.ReadDir(m.root); err != nil || len(left) != 0 {
		t.Errorf("left on the server: %v, %v", left, err)
	}
}

func testProgramsRsync(t *testing.T, m *mounted) {
	tree := makeTree(t)
	command(t, tree, "rsync", "-a", tree+"/", m.path("sync"))
	if out := command(t, tree, "rsync", "-ai", tree+"/", m.path("sync")); strings.Contains(out, ">f") {
		t.Errorf("the second run copies again:\n%s", out)
	}
	command(t, tree, "diff", "-r", tree, m.path("sync"))
}

func testProgramsGit(t *testing.T, m *mounted) {
	src := t.TempDir()
	m.shell(t, src, `
		git init -q repo && cd repo
		git config user.email a@example.org && git config user.name a
		for i in $(seq 60); do mkdir -p d$((i % 7)); seq $i 400 > d$((i % 7))/f$i; done
		git add . && git commit -qm one
		for i in $(seq 30); do echo more >> d$((i % 7))/f$i; done
		git commit -qam two && git gc -q
	`)
	m.shell(t, src, `
		git clone -q repo $M/clone
		cd $M/clone
		git config user.email a@example.org && git config user.name a
		git fsck --strict
		test -z "$(git status --porcelain)"
		echo new > new && git add new && git commit -qm three
		git checkout -q HEAD~1 && git checkout -q -
		git gc -q
		git fsck --strict
		git log --oneline | wc -l | grep -qx 3
		test -z "$(git status --porcelain)"
	`)
}

func testProgramsSQLite(t *testing.T, m *mounted) {
	out := m.shell(t, m.dir, `
		sqlite3 data.db "create table t (a integer primary key, b text);"
		for k in 1 2 3; do
			sqlite3 data.db "with recursive c(x) as (select 1 union all select x+1 from c where x < 2000) insert into t (b) select hex(randomblob(50)) from c;"
		done
		sqlite3 data.db "delete from t where a % 3 = 0; vacuum; create index i on t (b);"
		sqlite3 data.db "pragma integrity_check; select count(*) from t;"
		sqlite3 data.db "pragma journal_mode = truncate; update t set b = 'x' where a % 2 = 0; pragma integrity_check;"
	`)
	if want := "ok\n4000\ntruncate\nok\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if out := command(t, m.root, "sqlite3", "data.db", "pragma integrity_check"); out != "ok\n" {
		t.Errorf("on the server: %s", out)
	}
}

func testProgramsDD(t *testing.T, m *mounted) {
	m.shell(t, t.TempDir(), `
		head -c 3000000 /dev/urandom > local
		cp local $M/f
		for i in 1 7 23 400 2; do
			head -c 5000 /dev/urandom > piece
			dd if=piece of=local bs=1000 seek=$i conv=notrunc status=none
			dd if=piece of=$M/f bs=1000 seek=$i conv=notrunc status=none
		done
		dd if=piece of=local bs=1000 seek=5000 conv=notrunc status=none
		dd if=piece of=$M/f bs=1000 seek=5000 conv=notrunc,fsync status=none
		cmp local $M/f
		dd if=$M/f of=part bs=777 skip=1000 count=100 status=none
		dd if=local bs=777 skip=1000 count=100 status=none | cmp - part
		truncate -s 123457 local $M/f && cmp local $M/f
		# as editors do
		cp $M/f $M/f~ && sed -i 's/a/b/g' $M/f && sed 's/a/b/g' local | cmp - $M/f
	`)
}

// testProgramsParallelReaders reads one file at random from many processes.
func testProgramsParallelReaders(t *testing.T, m *mounted) {
	m.shell(t, t.TempDir(), `
		head -c 20000000 /dev/urandom > local
		cp local $M/f
		for i in $(seq 32); do
			(for k in 1 2 3 4; do
				skip=$(( (i * 7919 + k * 104729) % 19000 ))
				dd if=$M/f bs=1000 skip=$skip count=50 status=none > r$i
				dd if=local bs=1000 skip=$skip count=50 status=none | cmp - r$i || touch failed
			done) &
		done
		wait
		test ! -e failed
	`)
}
