package diskcache_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
)

// childMode makes the test program a process that uses a cache; its arguments
// are the directory, the budget and a seed.
const childMode = "DISKCACHE_CHILD"

const (
	childFiles = 40
	childSize  = 700 * kib
)

// runChild puts and gets at random. It says so when what it gets is wrong.
func runChild(mode string) {
	budget, _ := strconv.ParseInt(os.Args[2], 10, 64)
	seed, _ := strconv.ParseUint(os.Args[3], 10, 64)
	cfg := config(os.Args[1])
	cfg.Budget = budget
	c, err := diskcache.Open(cfg)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := 0; mode == "forever" || i < 400; i++ {
		x := file("/"+strconv.Itoa(rnd.IntN(childFiles)), childSize)
		off := rnd.Int64N(childSize/(4*kib)) * 4 * kib
		n := min(x.Size-off, (rnd.Int64N(32)+1)*4*kib)
		p := make([]byte, n)
		if c.Get(x, off, p) {
			if !bytes.Equal(p, data(x, off, n)) {
				fmt.Println("wrong bytes")
				os.Exit(1)
			}
			continue
		}
		done := make(chan struct{})
		if c.Put(x, off, data(x, off, n), func() { close(done) }) && rnd.IntN(2) == 0 {
			<-done
		}
	}
	c.Close()
	if st := c.Stats(); st.Errors > 0 || mode == "once" && st.Damaged > 0 {
		fmt.Printf("%+v\n", st)
		os.Exit(1)
	}
}

func child(t *testing.T, mode, dir string, budget int64, seed uint64) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", dir, strconv.FormatInt(budget, 10), strconv.FormatUint(seed, 10))
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// onDisk returns how much of the disk a directory takes, while nobody writes.
func onDisk(t *testing.T, dir string) (sum int64) {
	t.Helper()
	if f, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_RDWR, 0); err == nil {
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return sum
}

// TestKilled kills processes at random moments while others go on: nobody ever
// gets a wrong byte, and the directory works afterwards.
func TestKilled(t *testing.T) {
	dir, rnd := t.TempDir(), rand.New(rand.NewPCG(3, 3))
	const budget = 12 * mib
	kills := 40
	if testing.Short() {
		kills = 5
	}
	survivor, said := child(t, "forever", dir, budget, 1000)
	c := func() *diskcache.Cache { cfg := config(dir); cfg.Budget = budget; return open(t, cfg) }()
	for i := range kills {
		cmd, out := child(t, "forever", dir, budget, uint64(i))
		time.AfterFunc(time.Duration(rnd.IntN(80)+5)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Fatalf("victim %d: %s", i, out)
		}
		for range 500 {
			x := file("/"+strconv.Itoa(rnd.IntN(childFiles)), childSize)
			has(t, c, x, rnd.Int64N(x.Size/(4*kib))*4*kib, 4*kib)
		}
	}
	_ = survivor.Process.Kill()
	_ = survivor.Wait()
	if said.Len() > 0 {
		t.Fatalf("survivor: %s", said)
	}
	st := c.Stats()
	t.Logf("%+v", st)
	if st.Hits == 0 || st.Errors > 0 {
		t.Errorf("%+v", st)
	}
	if !store(t, c, file("/x", mib), 0, mib) || !has(t, c, file("/x", mib), 0, mib) {
		t.Error("it does not work any more")
	}
}

// TestBudgetAcrossProcesses lets four processes put six times the budget, and
// watches the disk.
func TestBudgetAcrossProcesses(t *testing.T) {
	const budget = 6 * mib
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range uint64(4) {
		cmd, out := child(t, "once", dir, budget, i)
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	most := int64(0)
	for tick := time.Tick(2 * time.Millisecond); ; {
		most = max(most, onDisk(t, dir))
		select {
		case <-tick:
			continue
		case <-finished:
		}
		break
	}
	t.Logf("%d KiB at most, %d KiB in the end, budget %d KiB", most>>10, onDisk(t, dir)>>10, budget>>10)
	if most > budget {
		t.Errorf("%d bytes on the disk, budget %d", most, budget)
	}
	if most < budget/2 {
		t.Errorf("%d bytes on the disk: not used", most)
	}
}

// TestLeastRecentlyUsedLeaves: what is in use stays.
func TestLeastRecentlyUsedLeaves(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Budget = 4 * mib
	c := open(t, cfg)
	x := func(i int) diskcache.Content { return file("/"+strconv.Itoa(i), 512*kib) }
	for i := range 6 {
		store(t, c, x(i), 0, 512*kib)
	}
	old := time.Now().Add(-time.Hour)
	paths, _ := filepath.Glob(filepath.Join(dir, "*.index"))
	for _, p := range paths {
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, cfg) // notes that they are in use
	for i := range 2 {
		if !has(t, again, x(i), 0, 512*kib) {
			t.Fatalf("%d is gone", i)
		}
	}
	for i := range 4 {
		store(t, c, x(10+i), 0, 512*kib)
	}
	for i := range 6 {
		if got := has(t, open(t, cfg), x(i), 0, 4*kib); i < 2 && !got {
			t.Errorf("%d was in use and is gone", i)
		} else if i >= 2 && got && onDisk(t, dir) > 4*mib {
			t.Errorf("%d was not used and is there", i)
		}
	}
	if n := strings.Count(strings.Join(globs(dir), " "), ".data"); n < 5 || n > 8 {
		t.Errorf("%d contents", n)
	}
}

func globs(dir string) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	return paths
}
