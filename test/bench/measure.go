package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a mount's process had used at a moment.
type usage struct {
	cpu      time.Duration
	counters map[string]int64
}

// clockTick is the unit of /proc/PID/stat, the same on all Linux systems.
const clockTick = 10 * time.Millisecond

// begin forgets the process's peak of memory and notes what it used so far.
func (m *mounted) begin(ctx context.Context) (usage, error) {
	if m.pid == 0 {
		return usage{}, nil
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.pid), []byte("5"), 0); err != nil {
		return usage{}, err
	}
	return m.usage(ctx)
}

func (m *mounted) usage(ctx context.Context) (u usage, err error) {
	if m.pid == 0 {
		return u, nil
	}
	if u.cpu, err = cpuTime(m.pid); err != nil {
		return u, err
	}
	if m.counters != nil {
		u.counters, err = m.counters(ctx)
	}
	return u, err
}

// cpuTime is what a process used in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12 // counted from the state, the third of all fields
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	ticks := int64(0)
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// peak is the most memory that the process has held since begin, in bytes.
func (m *mounted) peak() int64 {
	if m.pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
