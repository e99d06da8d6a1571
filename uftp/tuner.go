package uftp

import (
	"math"
	"time"
)

// A tuner finds out how many lanes an engine should have and how many bytes
// should be on their way in each. The bytes follow from what a lane brings in a
// round trip.
//
// Over a short way one lane begins, and more are tried: twice as many are kept if
// the throughput grows by them, as many as it grew, and not tried again for a
// while if not. Over a long way each connection rarely brings all that the way
// can carry, and a log-in takes so long that trying costs more than it saves: all
// that there may be begin, and fewer are tried when they have worked for a while;
// as many are kept as it takes. It measures only while there is more to read than
// the lanes take. The engine's mutex guards it.
type tuner struct {
	lanes  int // as many as seem to pay
	window int // bytes on their way in each

	began time.Time // of the measurement
	bytes int64     // that came since
	dry   bool      // there was not always enough to send
	full  bool      // all lanes are at work
	rate  float64   // bytes per second before the trial
	trial trial
	fewer int       // lanes before the trial of more
	more  int       // lanes before the trial of fewer
	opens int       // measurements of the trial while lanes were being opened
	tries int       // measurements of the trial after that
	best  float64   // of them, in bytes per second: a busy moment hides what there is
	last  float64   // bytes per second, measured last
	used  time.Time // when a measurement ended last

	round struct { // what came within one round trip
		began, ended time.Time // ended is when the last of it came
		bytes        int64
	}

	noLanes, noFewer, noWindow trialPause
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
	fewerLanes
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
	// longWay is the round trip from which all lanes begin at once, and a window
	// follows from it alone: over a short way it is not the network that takes time.
	longWay = 10 * time.Millisecond
	// firstFewer is after how much work over a long way fewer lanes are tried first.
	firstFewer = 5 * time.Second
	// maxFewer is after how many measurements with a loss fewer lanes are too few.
	maxFewer = 2
	// firstTrialPause and lastTrialPause bound how long a failed trial is not repeated: each
	// failure doubles it, since the first may be the fault of a busy moment.
	firstTrialPause, lastTrialPause = 2 * time.Second, 2 * time.Minute
	// fillTime is how long what the lanes may have on their way takes at most, for
	// a larger window to be tried: others who want a session wait for as long.
	fillTime = 100 * time.Millisecond
	// forgetTime is after how long without use what was found out is no longer true.
	forgetTime = 5 * time.Minute
	// leastWindow is what a lane begins with, or what firstRate brings in a round
	// trip if that is more, up to mostFirst.
	leastWindow, firstRate, mostFirst = 2 << 20, 64 << 20, 8 << 20
	maxWindow                         = 64 << 20
	// mostStretch is by how much the window of a long way grows in a round trip.
	mostStretch = 8
)

// arrived says that n bytes came. most is how many lanes there may be, active how
// many are at work, and trip the time of a round trip, 0 if that is not known.
func (t *tuner) arrived(n int, now time.Time, most, active int, trip time.Duration) {
	t.stretch(n, now, active, trip)
	switch {
	case active != t.lanes:
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

// stretch doubles the window over a long way when a round trip brought all that
// may be on its way: nobody knows what a connection can do before that. Where it
// came in a part of the trip, the window grows to what would have come in all of
// it, up to mostStretch times: the bytes that the larger one brings are a round trip
// away, and each further step takes two.
func (t *tuner) stretch(n int, now time.Time, active int, trip time.Duration) {
	if trip < longWay || t.window >= maxWindow {
		return
	}
	if took := now.Sub(t.round.began); took >= trip {
		if took < 2*trip && float64(t.round.bytes) > 0.75*float64(t.window*max(1, active)) {
			grow, spent := 2, t.round.ended.Sub(t.round.began)
			for ; grow < mostStretch && spent < trip/4; spent *= 2 {
				grow *= 2
			}
			t.window = min(grow*t.window, maxWindow)
		}
		t.round.began, t.round.bytes = now, 0
	}
	t.round.bytes += int64(n)
	t.round.ended = now
}

// judge takes a measurement and reports whether the trial is over, if there is
// one.
func (t *tuner) judge(rate float64, now time.Time, most, active int) bool {
	switch t.trial {
	case moreLanes:
		return t.judgeMore(rate, now, most, active)
	case fewerLanes:
		return t.judgeFewer(rate, now, most, active)
	case moreWindow:
		if t.gain(rate) >= leastGain {
			return true
		}
		if t.tries++; t.tries < maxTries {
			return false
		}
		t.window /= 2
		t.noWindow.failed(now)
	case noTrial:
		return t.opened(now, most, active)
	}
	return true
}

// opened reports whether all lanes are at work. It gives up those for which there
// are no sessions.
func (t *tuner) opened(now time.Time, most, active int) bool {
	if most < t.lanes {
		t.lanes = max(1, most)
		t.noLanes.failed(now)
	}
	if active >= t.lanes {
		return true
	}
	if t.opens++; t.opens < maxOpens {
		return false
	}
	t.lanes = max(1, active)
	t.noLanes.failed(now)
	return true
}

func (t *tuner) judgeMore(rate float64, now time.Time, most, active int) bool {
	if most < t.lanes {
		t.lanes = max(t.fewer, most)
		t.noLanes.failed(now)
	}
	if active < t.lanes {
		return t.opened(now, most, active)
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
	return true
}

// judgeFewer keeps fewer lanes that bring as much as more did, and otherwise as
// many as it takes by what each of the fewer brings.
func (t *tuner) judgeFewer(rate float64, now time.Time, most, active int) bool {
	if active > t.lanes { // they end what they are at
		if t.opens++; t.opens < maxOpens {
			return false
		}
		t.lanes = t.more
		t.noFewer.failed(now)
		return true
	}
	if active < t.lanes {
		return t.opened(now, most, active)
	}
	t.best = max(t.best, rate)
	if t.best >= (1-leastGain)*t.rate {
		t.noLanes.failed(now)
		return true
	}
	if t.tries++; t.tries < maxFewer {
		return false
	}
	t.noFewer.failed(now)
	need := int(math.Ceil(float64(t.lanes) * t.rate / t.best))
	if t.lanes = max(t.lanes, min(t.more, need, most)); t.lanes < t.more {
		t.noLanes.failed(now)
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
			t.lanes = most
		}
		t.lanes = min(t.lanes, most)
	case t.lanes > 1 && trip >= longWay && t.noFewer.over(now):
		t.trial, t.more = fewerLanes, t.lanes
		t.lanes = (t.lanes + 1) / 2
	case t.window < maxWindow && trip < longWay && float64(t.lanes*t.window) < t.rate*fillTime.Seconds() && t.noWindow.over(now):
		t.trial = moreWindow
		t.window *= 2
	}
}

// wake says that there is something to send after a pause.
func (t *tuner) wake(now time.Time, most int, trip time.Duration) {
	if t.lanes == 0 || now.Sub(t.used) > forgetTime {
		*t = tuner{lanes: 1, window: leastWindow, used: now}
		for t.window < mostFirst && float64(t.window) < firstRate*trip.Seconds() {
			t.window *= 2
		}
		if trip >= longWay {
			t.lanes = max(1, most)
			t.noFewer.until = now.Add(firstFewer)
		}
	}
	if t.trial == fewerLanes {
		t.trial, t.lanes = noTrial, t.more // it was interrupted
	}
	t.began, t.bytes, t.dry = now, 0, false
}

// reach is how many bytes keep all lanes busy over a long way, and half as much,
// since they do not come in the order in which they are wanted; 0 over a short way.
func (t tuner) reach(now time.Time, most int, trip time.Duration) int64 {
	if trip < longWay {
		return 0
	}
	t.wake(now, most, trip) // a copy
	return int64(t.lanes) * int64(t.window) * 3 / 2
}
