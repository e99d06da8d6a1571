package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a mount's process had used at a moment.
type usage struct {
	cpu      time.Duration
	counters map[string]int64
}

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
	p, err := procfs.NewProc(m.pid)
	if err != nil {
		return u, err
	}
	stat, err := p.Stat()
	if err != nil {
		return u, err
	}
	u.cpu = toDuration(stat.CPUTime())
	if m.counters != nil {
		u.counters, err = m.counters(ctx)
	}
	return u, err
}

// memory is the most that the process has held since begin, and what is in no file
// now: what it has for itself alone, since all mounts share the program. In bytes.
func (m *mounted) memory() (peak, own int64) {
	if m.pid == 0 {
		return 0, 0
	}
	p, err := procfs.NewProc(m.pid)
	if err != nil {
		return 0, 0
	}
	s, err := p.NewStatus()
	if err != nil {
		return 0, 0
	}
	return int64(s.VmHWM), int64(s.RssAnon)
}

// processors is how long all of the machine's were busy and idle up to a moment,
// with the server, the link, the mount and the program that uses it.
type processors struct{ busy, idle time.Duration }

func allProcessors() (processors, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return processors{}, err
	}
	s, err := fs.Stat()
	if err != nil {
		return processors{}, err
	}
	c := s.CPUTotal
	return processors{
		busy: toDuration(c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ),
		idle: toDuration(c.Idle + c.Iowait + c.Steal),
	}, nil
}

// since is the load from another one on.
func (p processors) since(before processors) processors {
	return processors{p.busy - before.busy, p.idle - before.idle}
}

// share is the part of the time that was not idle.
func (p processors) share() float64 { return ratio(p.busy.Seconds(), (p.busy + p.idle).Seconds()) }

func toDuration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
