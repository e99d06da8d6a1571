package uftp

import (
	"math"
	"time"
)

// A tuner finds out how many lanes an engine should have and how many bytes
// should be on their way in each. The bytes follow from what a lane brings in a
// round trip. The lanes are tried: twice as many, or four times over a long way,
// are kept if the throughput grows by them, as many as it grew, and not tried
// again for a while if not. It measures only while there is more to read than the
// lanes take. The engine's mutex guards it.
type tuner struct {
	lanes  int // as many as seem to pay
	window int // bytes on their way in each

	began time.Time // of the measurement
	bytes int64     // that came since
	dry   bool      // there was not always enough to send
	full  bool      // all lanes are at work
	rate  float64   // bytes per second before the trial
	trial trial
	fewer int       // lanes before the trial
	opens int       // measurements of the trial while lanes were being opened
	tries int       // measurements of the trial after that
	best  float64   // of them, in bytes per second: a busy moment hides what there is
	last  float64   // bytes per second, measured last
	used  time.Time // when a measurement ended last

	noLanes, noWindow trialPause
}

// trialPause is when a kind of trial may be made again.
type trialPause struct {
	until  time.Time
	length time.Duration // of the next one
}

func (p *trialPause) failed(now time.Time) {
	p.length = max(p.length, firstTrialPause)
	p.until = now.Add(p.length)
	p.length = min(2*p.length, lastTrialPause)
}

func (p *trialPause) over(now time.Time) bool { return now.After(p.until) }

type trial uint8

const (
	noTrial trial = iota
	moreLanes
	moreWindow
)

const (
	// measureTime is how long one measurement takes at least, and measureTrips how
	// many round trips.
	measureTime  = 100 * time.Millisecond
	measureTrips = 3
	// maxTries is after how many measurements without gain a trial has failed: a
	// new connection is slow at first.
	maxTries = 4
	// maxOpens is after how many of them a trial ends for want of sessions.
	maxOpens = 10 * maxTries
	// leastGain is by how much the throughput must grow, and share which part of
	// what a lane brings more of them must bring for even more to be tried at once.
	leastGain, share = 0.1, 0.34
	// longWay is the round trip from which lanes are tried by four, and a window
	// follows from it alone: over a short way it is not the network that takes time.
	longWay = 10 * time.Millisecond
	// firstTrialPause and lastTrialPause bound how long a failed trial is not repeated: each
	// failure doubles it, since the first may be the fault of a busy moment.
	firstTrialPause, lastTrialPause = 2 * time.Second, 2 * time.Minute
	// forgetTime is after how long without use what was found out is no longer true.
	forgetTime = 5 * time.Minute
	// leastWindow is what a lane begins with, or what firstRate brings in a round
	// trip if that is more, up to mostFirst.
	leastWindow, firstRate, mostFirst = 2 << 20, 64 << 20, 8 << 20
	maxWindow                         = 64 << 20
)

// arrived says that n bytes came. most is how many lanes there may be, active how
// many are at work, and trip the time of a round trip, 0 if that is not known.
func (t *tuner) arrived(n int, now time.Time, most, active int, trip time.Duration) {
	switch {
	case active < t.lanes:
		t.full = false
	case !t.full: // what the last one asks for comes a round trip later
		t.full = true
		t.began, t.bytes, t.dry = now.Add(trip), 0, false
	}
	if now.Before(t.began) {
		return
	}
	t.bytes += int64(n)
	took, length := now.Sub(t.began), max(measureTime, measureTrips*trip)
	if took < length {
		return
	}
	rate, dry := float64(t.bytes)/took.Seconds(), t.dry || took > 4*length
	t.began, t.bytes, t.dry, t.used = now, 0, false, now
	if dry {
		// Nothing can be said; a trial that is on its way goes on.
		return
	}
	if t.widen(rate/float64(max(1, active)), trip) || !t.judge(rate, now, most, active) {
		return
	}
	t.trial, t.opens, t.tries, t.best, t.rate = noTrial, 0, 0, 0, rate
	if rising := rate > (1+leastGain)*t.last; !rising || trip >= longWay {
		t.next(now, most, trip)
	}
	t.last = rate
}

// widen sees that what a lane brings in a round trip, and half as much again, fits
// in its window, and reports whether it did not. A lane that brings all of its
// window in a round trip could bring much more.
func (t *tuner) widen(rate float64, trip time.Duration) bool {
	need := rate * trip.Seconds()
	if need > 0.75*float64(t.window) {
		need *= 2
	}
	if need *= 1.5; need <= float64(t.window) || t.window >= maxWindow {
		return false
	}
	for t.window < maxWindow && float64(t.window) < need {
		t.window *= 2
	}
	return true
}

// judge takes a measurement of a trial and reports whether the trial is over.
func (t *tuner) judge(rate float64, now time.Time, most, active int) bool {
	switch t.trial {
	case moreLanes:
		if t.lanes = max(t.fewer, min(t.lanes, most)); active < t.lanes {
			if t.opens++; t.opens < maxOpens {
				return false
			}
			t.lanes = max(1, active)
			t.noLanes.failed(now)
			return true
		}
		more := float64(t.lanes-t.fewer) / float64(t.fewer)
		gain := t.gain(rate)
		if gain >= share*more {
			return true
		}
		if t.tries++; t.tries < maxTries {
			return false
		}
		t.noLanes.failed(now)
		if gain < min(leastGain, share*more) {
			gain = 0
		}
		t.lanes = min(t.lanes, int(math.Ceil(float64(t.fewer)*(1+gain))))
	case moreWindow:
		if t.gain(rate) >= leastGain {
			return true
		}
		if t.tries++; t.tries < maxTries {
			return false
		}
		t.window /= 2
		t.noWindow.failed(now)
	}
	return true
}

// gain is by how much the trial's best measurement is above what was before it.
func (t *tuner) gain(rate float64) float64 {
	t.best = max(t.best, rate)
	return t.best/t.rate - 1
}

// next begins a trial if there is something to try.
func (t *tuner) next(now time.Time, most int, trip time.Duration) {
	switch {
	case t.lanes < most && t.noLanes.over(now):
		t.trial, t.fewer = moreLanes, t.lanes
		if t.lanes *= 2; trip >= longWay {
			t.lanes *= 2
		}
		t.lanes = min(t.lanes, most)
	case t.window < maxWindow && trip < longWay && t.noWindow.over(now):
		t.trial = moreWindow
		t.window *= 2
	}
}

// wake says that there is something to send after a pause.
func (t *tuner) wake(now time.Time, trip time.Duration) {
	if t.lanes == 0 || now.Sub(t.used) > forgetTime {
		*t = tuner{lanes: 1, window: leastWindow}
		for t.window < mostFirst && float64(t.window) < firstRate*trip.Seconds() {
			t.window *= 2
		}
	}
	t.began, t.bytes, t.dry = now, 0, false
}
