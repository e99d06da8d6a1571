package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

const (
	rawName = "raw"
	// cellTimeout bounds one run, which has a limit of its own where it can.
	cellTimeout = time.Minute
	// shortRun is below which a run is repeated.
	shortRun = 3 * time.Second
	repeats  = 3
)

// bench runs workloads on one rig.
type bench struct {
	rig   *rig
	size  int64
	limit time.Duration
	say   func(format string, args ...any)
}

// sample is one run of a subject.
type sample struct {
	result.Result
	counters map[string]int64
	machine  processors
	peak     int64
	idle     int64         // memory of its own when it was mounted and nothing was done
	mount    time.Duration // until it was mounted
}

// measure runs a workload on all subjects in turn, and again if that was quick,
// so that whatever else the machine does meets them all.
func (b *bench) measure(ctx context.Context, w workload, subjects []subject) []row {
	rows := make([]row, len(subjects)+1)
	samples := make([][]sample, len(rows))
	for i := range rows {
		rows[i] = row{Link: b.rig.link.Name, Workload: w.name, Subject: rawName, Unit: w.unit}
		if i > 0 {
			rows[i].Subject = subjects[i-1].name()
			b.check(ctx, w, subjects[i-1], &rows[i])
		}
	}
	for n := range repeats {
		for i := range rows {
			if ctx.Err() != nil || n > 0 && (len(samples[i]) < n || samples[i][n-1].Time > shortRun) {
				continue
			}
			s, err := b.once(ctx, w, subjects, i, &rows[i])
			switch {
			case err == nil && s.Time > 0:
				samples[i] = append(samples[i], s)
			case err != nil && rows[i].Note == "":
				rows[i].Note = err.Error()
			}
		}
	}
	var done []row
	for i := range rows {
		rows[i].summarise(w, samples[i])
		if rows[i].Note != noteNone {
			done = append(done, rows[i])
		}
	}
	compare(w, done)
	for _, r := range done {
		b.say("  %-10s %s %s", r.Subject, r.figure(), r.Note)
	}
	return done
}

// errSlow says that a run did not end in its time.
var errSlow = errors.New("not done in the time there is")

// noteNone marks a row that means nothing.
const noteNone = "-"

// once runs a workload once on the i-th of the reference and the subjects.
func (b *bench) once(ctx context.Context, w workload, subjects []subject, i int, r *row) (sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience(), errSlow)
	defer cancel()
	if r.Note == errSlow.Error() {
		return sample{}, nil // it was when it was compared
	}
	if err := b.clean(); err != nil {
		return sample{}, err
	}
	if i == 0 {
		if w.raw == nil {
			r.Note = noteNone
			return sample{}, nil
		}
		return b.raw(ctx, w)
	}
	s := subjects[i-1]
	if why := b.skip(w, s); why != "" {
		r.Note = why
		return sample{}, nil
	}
	return b.onMount(ctx, w, s)
}

// skip says why a subject cannot be measured with a workload, or "".
func (b *bench) skip(w workload, s subject) string {
	_, isProduct := s.(product)
	switch why := s.missing(); {
	case w.writes && !s.writes() && w.copies == 0, w.diskCache && !isProduct && s.name() != "local":
		return noteNone
	case why != "":
		return noteSkipped + why
	case w.diskCache && isProduct:
		if why := (product{diskCache: true}).missing(); why != "" {
			return noteSkipped + why
		}
	}
	return ""
}

// clean removes what was written.
func (b *bench) clean() error {
	files, err := filepath.Glob(b.rig.path(dataDir, outDir, "*"))
	for _, f := range append(files, b.rig.path(copyDir)) {
		err = errors.Join(err, os.RemoveAll(f))
	}
	return errors.Join(err, os.Mkdir(b.rig.path(copyDir), 0o755))
}

const copyDir = "copies" // below the root

// raw runs the reference.
func (b *bench) raw(ctx context.Context, w workload) (sample, error) {
	address, password, err := b.rig.password(ctx)
	if err != nil {
		return sample{}, err
	}
	env := []string{"BENCH_SERVER=" + address, "UFTP_PASSWORD=" + password}
	args := append([]string{filepath.Join(b.rig.bin, "raw")}, w.raw(b.place(&mounted{}))...)
	before, err := allProcessors()
	if err != nil {
		return sample{}, err
	}
	out, err := output(ctx, env, append(args, "-limit", b.limit.String())...)
	if err != nil {
		return sample{}, err
	}
	after, err := allProcessors()
	if err != nil {
		return sample{}, err
	}
	s := sample{machine: after.since(before)}
	return s, json.Unmarshal(out, &s.Result)
}

func (b *bench) place(m *mounted) place {
	p := place{
		dir: m.dir, size: b.size, limit: b.limit.String(), sessions: b.rig.link.Sessions,
		copy: m.copy, data: b.rig.path(dataDir), local: b.rig.path(copyDir),
	}
	if b.rig.link.Delay == "" {
		p.sessions = 1 // on this machine more of them only share its processors
	}
	return p
}

// onMount runs the workload once on a fresh mount of a subject.
func (b *bench) onMount(ctx context.Context, w workload, s subject) (_ sample, err error) {
	if p, ok := s.(product); ok && w.diskCache {
		p.diskCache = true
		s = p
		defer func() { err = errors.Join(err, os.RemoveAll(b.rig.path("cache"))) }()
		m, err := b.mount(ctx, s)
		if err != nil {
			return sample{}, err
		}
		if _, err = b.work(ctx, w, m); err == nil {
			err = settle(ctx, m)
		}
		m.unmount()
		if err != nil {
			return sample{}, err
		}
	}
	m, err := b.mount(ctx, s)
	if err != nil {
		return sample{}, err
	}
	defer m.unmount()
	if w.warm {
		if _, err := b.work(ctx, w, m); err != nil {
			return sample{}, err
		}
	}
	return b.timed(ctx, w, m)
}

// timed is the run that counts.
func (b *bench) timed(ctx context.Context, w workload, m *mounted) (sample, error) {
	before, err := m.begin(ctx)
	if err != nil {
		return sample{}, err
	}
	idle, err := allProcessors()
	if err != nil {
		return sample{}, err
	}
	r, err := b.work(ctx, w, m)
	if err == nil && w.copies > 0 {
		err = w.countCopies(b.rig)
	}
	if err != nil {
		return sample{}, err
	}
	busy, err := allProcessors()
	if err != nil {
		return sample{}, err
	}
	after, err := m.usage(ctx)
	if err != nil {
		return sample{}, err
	}
	s := sample{Result: r, machine: busy.since(idle), peak: r.Peak}
	if m.pid == 0 {
		return s, nil
	}
	s.CPU = after.cpu - before.cpu
	s.Fetched = after.counters["client_bytes_read"] - before.counters["client_bytes_read"]
	s.Trips = after.counters["client_round_trips"] - before.counters["client_round_trips"]
	s.counters, s.idle, s.mount = after.counters, m.own, m.took
	s.peak, _ = m.memory()
	return s, nil
}

// settle waits until a mount's disk cache does nothing more with what was read: it
// writes, completes and verifies files behind the reader.
func settle(ctx context.Context, m *mounted) error {
	const steady = 3 // looks that see the same
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := int64(-1)
	for same := 0; same < steady; {
		c, err := m.counters(ctx)
		if err != nil {
			return err
		}
		done := c["disk_stored"] + c["disk_dropped"] + c["disk_filled"] + c["disk_complete"]
		if same++; done != last || c["disk_queued"] > 0 {
			last, same = done, 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (b *bench) mount(ctx context.Context, s subject) (*mounted, error) {
	dir := b.rig.path("mnt")
	begin := time.Now()
	m, err := s.mount(ctx, b.rig, dir)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	m.took = time.Since(begin)
	_, m.own = m.memory()
	return m, nil
}

// work runs the workload's program.
func (b *bench) work(ctx context.Context, w workload, m *mounted) (result.Result, error) {
	if w.tool == byFio {
		return fio(ctx, b.limit, w.work(b.place(m)))
	}
	return b.load(ctx, m, m.dir, w.work(b.place(m)), false)
}

// load runs the program of that name, with or without comparing.
func (b *bench) load(ctx context.Context, m *mounted, root string, args []string, truth bool) (result.Result, error) {
	full := []string{filepath.Join(b.rig.bin, "load"), args[0], "-limit", b.limit.String()}
	if truth {
		full = append(full, "-root", root, "-truth", b.rig.path(dataDir))
	}
	var r result.Result
	out, err := output(ctx, m.env, append(full, args[1:]...)...)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(out, &r)
}

// check lets a subject do the workload once with every byte compared.
func (b *bench) check(ctx context.Context, w workload, s subject, r *row) {
	if b.skip(w, s) != "" || s.name() == "local" || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience(), errSlow)
	defer cancel()
	args := w.check
	if w.writes && w.copies == 0 {
		args = w.work
	}
	if args == nil || b.clean() != nil {
		return
	}
	m, err := b.mount(ctx, s)
	if err != nil {
		r.Note = err.Error()
		return
	}
	defer m.unmount()
	root := m.dir
	if w.copies > 0 {
		root = w.copied(b.rig)
		if _, err := b.work(ctx, w, m); err != nil {
			r.Note = err.Error()
			return
		}
	}
	got, err := b.load(ctx, m, root, args(b.place(m)), true)
	switch {
	case exitCode(err) == exitWrong:
		r.Note = noteWrong
	case errors.Is(err, errSlow):
		r.Note = errSlow.Error()
	case err != nil:
		r.Note = "comparing: " + err.Error()
	}
	r.Verified = err == nil && got.Verified
}

// exitWrong is how load says that it read other bytes than it should.
const exitWrong = 9
