package uftp

import (
	"testing"
	"time"
)

// wire is a network for a tuner: what it carries, in bytes per second.
type wire struct {
	trip        time.Duration
	each, total float64 // on each connection, and on all of them
	most        int     // sessions there may be
	login       time.Duration
}

// rate is what lanes with a window bring.
func (w wire) rate(lanes, window int) float64 {
	each := w.each
	if w.trip > 0 {
		each = min(each, float64(window)/w.trip.Seconds())
	}
	return min(w.total, float64(lanes)*each)
}

// run lets t work on w for a time, as an engine that always has something to
// send, and returns after how long it had most lanes for the first time.
func (w wire) run(t *tuner, begin time.Time, length time.Duration) (most int, after time.Duration) {
	const step = 5 * time.Millisecond
	t.wake(begin, w.most, w.trip)
	active, opened := 1, begin
	for now := begin; now.Sub(begin) < length; now = now.Add(step) {
		switch {
		case active >= t.lanes:
			active, opened = t.lanes, now
		case now.Sub(opened) >= w.login:
			active = min(t.lanes, w.most)
		}
		if active > most {
			most, after = active, now.Sub(begin)
		}
		t.arrived(int(w.rate(active, t.window)*step.Seconds()), now.Add(step), w.most, active, w.trip)
	}
	return most, after
}

// TestTuner finds out what networks are like.
func TestTuner(t *testing.T) {
	const mb = 1e6
	for name, tt := range map[string]struct {
		wire
		lanes, window [2]int        // at the end, at least and at most
		within        time.Duration // until there are as many as ever
	}{
		"short way, one lane brings all": {wire{200 * time.Microsecond, 1000 * mb, 1000 * mb, 16, 5 * time.Millisecond},
			[2]int{1, 1}, [2]int{2 << 20, 2 << 20}, 5 * time.Second},
		"short way, two lanes bring all": {wire{200 * time.Microsecond, 600 * mb, 1100 * mb, 16, 5 * time.Millisecond},
			[2]int{2, 2}, [2]int{2 << 20, 2 << 20}, 2 * time.Second},
		"long way, each has a share": {wire{40 * time.Millisecond, 50 * mb, 10000 * mb, 8, 160 * time.Millisecond},
			[2]int{8, 8}, [2]int{4 << 20, 4 << 20}, 170 * time.Millisecond},
		"long way, each has a share, many": {wire{40 * time.Millisecond, 50 * mb, 10000 * mb, 32, 160 * time.Millisecond},
			[2]int{32, 32}, [2]int{4 << 20, 4 << 20}, 170 * time.Millisecond},
		"long way, one lane brings all": {wire{40 * time.Millisecond, 500 * mb, 500 * mb, 8, 160 * time.Millisecond},
			[2]int{1, 1}, [2]int{32 << 20, 64 << 20}, 5 * time.Second},
		"long way, five bring all": {wire{40 * time.Millisecond, 50 * mb, 230 * mb, 8, 160 * time.Millisecond},
			[2]int{5, 5}, [2]int{4 << 20, 4 << 20}, 5 * time.Second},
		"long way, one session": {wire{40 * time.Millisecond, 1000 * mb, 1000 * mb, 1, 160 * time.Millisecond},
			[2]int{1, 1}, [2]int{64 << 20, 64 << 20}, time.Second},
		"very long way": {wire{150 * time.Millisecond, 20 * mb, 10000 * mb, 4, 600 * time.Millisecond},
			[2]int{4, 4}, [2]int{8 << 20, 8 << 20}, 610 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var tune tuner
			begin := time.Unix(0, 0)
			_, after := tt.run(&tune, begin, 20*time.Second)
			if tune.trial == moreLanes {
				tune.lanes = tune.fewer // what it goes back to when that brings nothing
			}
			if tune.trial == fewerLanes {
				tune.lanes = tune.more
			}
			if tune.trial == moreWindow {
				tune.window /= 2
			}
			if tune.lanes < tt.lanes[0] || tune.lanes > tt.lanes[1] || tune.window < tt.window[0] || tune.window > tt.window[1] {
				t.Errorf("%d lanes with %d bytes each, want %v and %v", tune.lanes, tune.window, tt.lanes, tt.window)
			}
			if after > tt.within {
				t.Errorf("it took %v", after)
			}
		})
	}
}

// TestTunerForgets begins anew after a long time without use, and not before.
func TestTunerForgets(t *testing.T) {
	var tune tuner
	w := wire{40 * time.Millisecond, 50e6, 1e10, 8, 100 * time.Millisecond}
	begin := time.Unix(0, 0)
	w.run(&tune, begin, 5*time.Second)
	if tune.wake(begin.Add(time.Minute), w.most, w.trip); tune.lanes != 8 {
		t.Errorf("%d lanes a minute later", tune.lanes)
	}
	if tune.wake(begin.Add(time.Hour), 6, w.trip); tune.lanes != 6 || tune.window != 4<<20 {
		t.Errorf("%d lanes, %d bytes an hour later", tune.lanes, tune.window)
	}
}

// TestTunerWithoutSessions gives a trial up that there are no sessions for.
func TestTunerWithoutSessions(t *testing.T) {
	w := wire{40 * time.Millisecond, 50e6, 1e10, 8, time.Hour}
	var tune tuner
	most, _ := w.run(&tune, time.Unix(0, 0), time.Minute)
	if most != 1 || tune.trial != moreLanes && tune.lanes != 1 {
		t.Errorf("%d lanes, %+v", most, tune)
	}
	w.most = 3 // the server's limit, found out meanwhile
	w.login = 0
	if w.run(&tune, time.Unix(100, 0), time.Minute); tune.lanes != 3 {
		t.Errorf("%d lanes of 3", tune.lanes)
	}
}

// TestTunerWidens has a window hold what a connection brings in a round trip, soon.
func TestTunerWidens(t *testing.T) {
	w := wire{40 * time.Millisecond, 1000e6, 1000e6, 1, 0}
	var tune tuner
	if w.run(&tune, time.Unix(0, 0), 300*time.Millisecond); tune.window != maxWindow {
		t.Errorf("%d bytes after 300 ms", tune.window)
	}
	slow := wire{40 * time.Millisecond, 20e6, 1000e6, 1, 0}
	tune = tuner{}
	if slow.run(&tune, time.Unix(0, 0), 10*time.Second); tune.window != 4<<20 {
		t.Errorf("%d bytes for a slow connection", tune.window)
	}
}

// TestTunerTriesFewer measures what it costs to find out that all lanes are
// needed: little, and less and less.
func TestTunerTriesFewer(t *testing.T) {
	w := wire{40 * time.Millisecond, 50e6, 1e10, 8, 160 * time.Millisecond}
	var tune tuner
	begin := time.Unix(0, 0)
	w.run(&tune, begin, firstFewer)
	fewer, longest := time.Duration(0), time.Minute
	for at := firstFewer; at < longest; at += 5 * time.Millisecond {
		now := begin.Add(at)
		if tune.lanes < 8 {
			fewer += 5 * time.Millisecond
		}
		tune.arrived(int(w.rate(tune.lanes, tune.window)*0.005), now, w.most, tune.lanes, w.trip)
	}
	if tune.noFewer.length < 4*firstTrialPause || fewer < measureTime || fewer > longest/30 {
		t.Errorf("%v of %v with fewer lanes, the next pause is %v", fewer, longest, tune.noFewer.length)
	}
}

// TestTunerInterrupted forgets a trial of fewer lanes that a pause interrupted.
func TestTunerInterrupted(t *testing.T) {
	tune := tuner{lanes: 4, more: 8, trial: fewerLanes, window: 4 << 20, used: time.Unix(0, 0)}
	if tune.wake(time.Unix(1, 0), 8, 40*time.Millisecond); tune.lanes != 8 || tune.trial != noTrial {
		t.Errorf("%d lanes, trial %d", tune.lanes, tune.trial)
	}
}

// TestTunerSlow tries no larger window where the present one already takes long,
// for whoever wants the session meanwhile.
func TestTunerSlow(t *testing.T) {
	for rate, want := range map[float64]trial{8e6: noTrial, 1e9: moreWindow} {
		tune := tuner{lanes: 1, window: leastWindow, rate: rate}
		if tune.next(time.Unix(1, 0), 1, time.Millisecond); tune.trial != want {
			t.Errorf("at %g bytes per second: trial %d, want %d", rate, tune.trial, want)
		}
	}
}

// TestTunerLeaps has a window grow at once to what a connection can bring that
// brings all of it in a small part of a round trip.
func TestTunerLeaps(t *testing.T) {
	const trip, pieces = 40 * time.Millisecond, 16
	for _, tt := range []struct {
		part time.Duration // of a round trip, in which all that is on its way comes
		want int
	}{{trip / 20, mostStretch}, {trip / 6, 4}, {trip / 2, 2}} {
		tune := tuner{lanes: 1, window: 4 << 20}
		begin := time.Unix(0, 0)
		for at := range time.Duration(2) {
			for piece := range time.Duration(pieces) {
				tune.stretch(4<<20/pieces, begin.Add(at*trip+piece*tt.part/pieces), 1, trip)
			}
		}
		if got := tune.window / (4 << 20); got != tt.want {
			t.Errorf("all of it came in %v of %v: the window grew by %d, want %d", tt.part, trip, got, tt.want)
		}
	}
}
