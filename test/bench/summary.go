package main

import "github.com/csi-uftp/csi-uftp/test/bench/result"

// figure is the result in the workload's unit.
func (w workload) figure(r result.Result) float64 {
	switch w.unit {
	case seconds:
		return r.Time.Seconds()
	case perSecond:
		return float64(r.Ops) / r.Time.Seconds()
	}
	return float64(r.Bytes) / 1e6 / r.Time.Seconds()
}

// summarise fills a row in from its runs: the median of each figure.
func (r *row) summarise(w workload, samples []sample) {
	pick := func(f func(sample) float64) float64 {
		var all []float64
		for _, s := range samples {
			all = append(all, f(s))
		}
		return median(all)
	}
	for _, s := range samples {
		r.Runs = append(r.Runs, w.figure(s.Result))
		r.Peak, r.Idle = max(r.Peak, s.peak), max(r.Idle, s.idle)
	}
	r.Value = median(r.Runs)
	r.FirstByte = pick(func(s sample) float64 { return s.FirstByte.Seconds() * 1e3 })
	r.Mount = pick(func(s sample) float64 { return s.mount.Seconds() * 1e3 })
	r.Fetched = pick(func(s sample) float64 { return ratio(float64(s.Fetched), float64(s.Bytes)) })
	per := func(s sample, mega float64) float64 { // what the row's unit counts
		switch w.unit {
		case megabytes:
			return float64(s.Bytes) / mega
		case perSecond:
			return float64(s.Ops)
		}
		return 1
	}
	r.Trips = pick(func(s sample) float64 { return ratio(float64(s.Trips), per(s, 1e6)) })
	r.CPU = pick(func(s sample) float64 { return ratio(s.CPU.Seconds(), per(s, 1e9)) })
	r.Machine = pick(func(s sample) float64 { return ratio(s.machine.busy.Seconds(), per(s, 1e9)) })
	r.Busy = pick(func(s sample) float64 { return s.machine.share() })
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// compare gives each row its ratio to the reference of its workload: more is
// better.
func compare(w workload, rows []row) {
	name := rawName
	if w.raw == nil {
		name = local{}.name()
	}
	reference := 0.0
	for _, r := range rows {
		if r.Subject == name {
			reference = r.Value
		}
	}
	for i := range rows {
		if rows[i].Subject == name {
			continue
		}
		rows[i].Ratio, rows[i].Against = ratio(rows[i].Value, reference), name
		if w.unit == seconds {
			rows[i].Ratio = ratio(reference, rows[i].Value)
		}
	}
}
