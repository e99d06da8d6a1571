package worker

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// idleAfter is for how long no request comes before a worker gives memory back.
const idleAfter = 30 * time.Second

// rest calls give, once, whenever served has not changed for a while. It returns
// when ctx ends, or what give returned.
func rest(ctx context.Context, served *atomic.Uint64, give func() error) error {
	t := time.NewTicker(idleAfter)
	defer t.Stop()
	last, rested := served.Load(), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if now := served.Load(); now != last {
			last, rested = now, false
			continue
		}
		if rested {
			continue
		}
		rested = true
		if err := give(); err != nil {
			return err
		}
	}
}

// giveBack gives the system what an idle process does not need: free memory of
// the heap, and the pages of the program that its start has touched. Those are
// in the page cache, shared by all workers, and mapped again when needed.
func giveBack() error {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		start, end, ok := programText(strings.TrimSuffix(line, "\n"), exe)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// programText returns the addresses of a line of /proc/self/maps, if it is a
// part of the program exe that is never written:
//
//	00400000-01234000 r-xp 00000000 fe:00 1234      /csi-uftp
func programText(line, exe string) (start, end uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || strings.Contains(fields[1], "w") || !strings.HasSuffix(line, " "+exe) {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	a, aerr := strconv.ParseUint(from, 16, 64)
	b, berr := strconv.ParseUint(to, 16, 64)
	return uintptr(a), uintptr(b), aerr == nil && berr == nil && a < b
}
