package worker

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// resident returns a line of /proc/self/status in bytes.
func resident(t *testing.T, key string) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skip("no " + key)
	return 0
}

// TestGiveBack: what an idle process keeps of its program is little, and it
// still runs.
func TestGiveBack(t *testing.T) {
	before := resident(t, "RssFile")
	if err := giveBack(); err != nil {
		t.Fatal(err)
	}
	after := resident(t, "RssFile")
	t.Logf("%d KiB of files in memory, %d KiB before", after>>10, before>>10)
	if after > before*8/10 {
		t.Errorf("%d KiB of the program stay in memory, of %d KiB", after>>10, before>>10)
	}
}

func TestProgramText(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00c00000 r-xp 00000000 fe:00 1234                               /bin/my prog":   true,
		"00c00000-01000000 r--p 00800000 fe:00 1234                               /bin/my prog":   true,
		"01000000-01100000 rw-p 00c00000 fe:00 1234                               /bin/my prog":   false,
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 99                         /lib/libc.so.6": false,
		"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 ":                                        false,
		"zz-7f0000001000 r-xp 00000000 fe:00 1234                                 /bin/my prog":   false,
		"": false,
	} {
		start, end, ok := programText(line, "/bin/my prog")
		if ok != want || ok && start >= end {
			t.Errorf("%q: %x-%x, %v; want %v", line, start, end, ok, want)
		}
	}
}

// TestRest gives memory back once for each time of rest, and not in between.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var rests, given atomic.Int64
		var count atomic.Uint64
		done := make(chan error)
		go func() { done <- rest(ctx, &count, func() error { given.Add(1); return nil }) }()
		for range 3 {
			for range 10 { // busy
				count.Add(1)
				time.Sleep(idleAfter / 2)
			}
			rests.Add(1)
			time.Sleep(5 * idleAfter)
			if given.Load() != rests.Load() {
				t.Fatalf("memory given back %d times in %d rests", given.Load(), rests.Load())
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
