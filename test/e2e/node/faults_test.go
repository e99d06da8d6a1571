package node_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// The tests of faults break what a mount depends on while programs run on it,
// and hold it to this: a program reads the right bytes or gets a true error,
// nothing acknowledged is lost, nothing hangs beyond the volume's ioTimeout, and
// nothing is left behind (which every node checks at its end).
//
// Those that keep files open for writing on a mount that may hang do not run in
// parallel with others: whenever this process starts another one, that one
// closes what it has inherited before it begins, and the close waits.

var killedMB = flag.Int("killed.mb", 32, "megabytes that TestKilledSessions reads at a time; it writes half of it")

// mount publishes what s serves under a name, with attributes ("name=value")
// beside those that every volume has here.
func (n *node) mount(t *testing.T, s *uftptest.Server, name string, more ...string) volume {
	t.Helper()
	v := volume{id: name, target: n.target(name)}
	v.attributes, v.secrets = access(s)
	maps.Copy(v.attributes, attributes(t, more...))
	n.publish(t, v)
	return v
}

func attributes(t *testing.T, pairs ...string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			t.Fatalf("attribute %q", p)
		}
		m[name] = value
	}
	return m
}

// within returns what f returned, which has to be soon enough.
func within(t *testing.T, limit time.Duration, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		t.Logf("%s: %v after %v", what, err, time.Since(start).Round(time.Millisecond))
		return err
	case <-timer.C:
		t.Fatalf("%s hangs: %v are over", what, limit)
		return nil
	}
}

// breaking calls f so many times, with pauses, and closes over after that. The
// test's end is the last moment of it.
func breaking(t *testing.T, pause time.Duration, times int, f func() error) (over <-chan struct{}) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for range times {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if err := f(); err != nil {
				t.Errorf("breaking the server: %v", err)
				return
			}
		}
	}()
	t.Cleanup(func() { close(quit); <-done })
	return done
}

// together runs subtests at the same time, and not when their turn comes as
// t.Parallel does.
func together(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	var wg sync.WaitGroup
	for name, f := range tests {
		wg.Go(func() { t.Run(name, f) })
	}
	wg.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// content returns n bytes that are those of seed alone.
func content(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	_, _ = mrand.NewChaCha8(key).Read(p) // never fails
	return p
}

// sameBytes checks contents without printing them.
func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	wrong, first := 0, -1
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			if wrong++; first < 0 {
				first = i
			}
		}
	}
	t.Errorf("%s: %d bytes, want %d; %d wrong, the first at %d", what, len(got), len(want), wrong, first)
}

// command runs a program in dir and returns what it said.
func command(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestSessionLimit runs several programs at once on a mount that gets one or two
// sessions, although it would like four.
func TestSessionLimit(t *testing.T) {
	for _, limit := range []int{1, 2} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			uftptest.Each(t, uftptest.Config{MaxConnections: limit}, func(t *testing.T, s *uftptest.Server) {
				n := startNode(t)
				v := n.mount(t, s, "limited")
				programs := map[string]func(t *testing.T){}
				for name, f := range map[string]func(t *testing.T, mnt, local string){
					"cp": cpTree, "clone": smallClone, "readers": fewReaders, "editor": editorRename,
				} {
					programs[name] = func(t *testing.T) { f(t, makeDir(t, v.target, name), t.TempDir()) }
				}
				together(t, programs)
				if peak := s.Stats().PeakSessions; peak > limit {
					t.Errorf("%d sessions at a time", peak)
				}
			})
		})
	}
}

// smallClone is gitClone without what takes long.
func smallClone(t *testing.T, mnt, local string) {
	src := makeDir(t, local, "src")
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprint(i)), content(uint64(i), 10000*i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, src, "git", "init", "-q", "-b", "main")
	run(t, src, "git", "add", "-A")
	run(t, src, "git", "commit", "-q", "-m", "one")
	run(t, mnt, "git", "clone", "-q", "--no-hardlinks", src, "clone")
	run(t, filepath.Join(mnt, "clone"), "git", "fsck", "--strict")
}

// TestTwoMountsOfOneUser lets two mounts live on two sessions, also when the
// server drops them all now and then.
func TestTwoMountsOfOneUser(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{MaxConnections: 2}, func(t *testing.T, s *uftptest.Server) {
		n := startNode(t)
		a := n.mount(t, s, "a", "sharing=none", "idleTimeout=2s")
		b := n.mount(t, s, "b", "sharing=none", "idleTimeout=2s")
		breaking(t, 2*time.Second, 2, s.KillSessions)
		programs := map[string]func(t *testing.T){}
		for i, v := range []volume{a, b} {
			programs[v.id] = func(t *testing.T) {
				dir := makeDir(t, v.target, v.id)
				cpTree(t, dir, t.TempDir())
				fewReaders(t, dir, "")
				data := content(uint64(i), 3<<20)
				if err := os.WriteFile(filepath.Join(dir, "last"), data, 0o644); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(s.Dir(), v.id, "last"))
				if err != nil {
					t.Fatal(err)
				}
				sameBytes(t, "on the server", got, data)
			}
		}
		together(t, programs)
	})
}

func makeDir(t *testing.T, parent, name string) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fewReaders is parallelReaders for a slow mount.
func fewReaders(t *testing.T, mnt, _ string) { readersOf(t, mnt, 6<<20+12345, 8, 12) }

// TestKilledSessions works on while the server drops all its sessions, or
// forgets its passwords, or both, five times a second: a busy program may get
// slow by that, and sees nothing else of it.
func TestKilledSessions(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		size := *killedMB << 20
		in := content(1, size)
		s.WriteFile(t, "in", in)
		local := t.TempDir()
		out := content(2, size/2)
		if err := os.WriteFile(filepath.Join(local, "out"), out, 0o600); err != nil {
			t.Fatal(err)
		}
		n := startNode(t)
		v := n.mount(t, s, "killed", "cacheSize=16Mi")
		for i, k := range []struct {
			name  string
			times int
			kill  func() error
		}{
			{"sessions", 15, s.KillSessions},
			{"passwords", 5, s.ExpireSecrets},
			{"both", 5, func() error { return errors.Join(s.KillSessions(), s.ExpireSecrets()) }},
		} {
			if k.name != "both" && !s.Real() && *killedMB <= 32 {
				continue // the real server is the better judge, and time is short
			}
			dir := makeDir(t, v.target, k.name)
			programs := map[string]func(*testing.T, int){ // the second is the number of the round
				"cp": func(t *testing.T, round int) { cpTree(t, makeDir(t, dir, fmt.Sprint("tree", round)), t.TempDir()) },
				"fsx": func(t *testing.T, round int) {
					seed := uint64(1000*i + round)
					if err := fsxtest.RunChild(t.Context(), fsxtest.Config{Dir: dir, Seed: seed, Ops: 100, Direct: true}); err != nil {
						t.Error(err)
					}
				},
				"read": func(t *testing.T, _ int) {
					sum, _, _ := strings.Cut(run(t, v.target, "sha256sum", "in"), " ")
					if want := fmt.Sprintf("%x", sha256.Sum256(in)); sum != want {
						t.Errorf("read: SHA-256 is %s, want %s", sum, want)
					}
				},
				"write": func(t *testing.T, _ int) {
					run(t, local, "cp", "out", dir)
					got, err := os.ReadFile(filepath.Join(s.Dir(), k.name, "out"))
					if err != nil {
						t.Fatal(err)
					}
					sameBytes(t, "written", got, out)
				},
			}
			t.Run(k.name, func(t *testing.T) {
				over := breaking(t, 200*time.Millisecond, k.times, k.kill)
				rounds := map[string]func(t *testing.T){}
				for name, f := range programs {
					rounds[name] = func(t *testing.T) {
						round := 0
						for ; round == 0 || !isClosed(over); round++ {
							f(t, round)
						}
						t.Logf("%d rounds", round)
					}
				}
				together(t, rounds)
			})
		}
	})
}
