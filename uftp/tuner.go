package uftp

import "time"

// A tuner finds out how many lanes an engine should have and how many bytes
// should be on their way in each, by trying: one lane more, or twice the bytes,
// is kept if the throughput grows by it, and not tried again for a while if not.
// It measures only while there is more to read than the lanes take. The engine's
// mutex guards it.
type tuner struct {
	lanes  int // as many as seem to pay
	window int // bytes on their way in each

	began time.Time // of the measurement
	bytes int64     // that came since
	dry   bool      // there was not always enough to send
	rate  float64   // bytes per second before the trial
	trial trial
	tries int       // measurements of the trial
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
	// measureTime is how long one measurement takes.
	measureTime = 120 * time.Millisecond
	// maxTries is after how many measurements without gain a trial has failed: a
	// new connection is slow at first.
	maxTries = 4
	// firstTrialPause and lastTrialPause bound how long a failed trial is not repeated: each
	// failure doubles it, since the first may be the fault of a busy moment.
	firstTrialPause, lastTrialPause = 2 * time.Second, 2 * time.Minute
	// forgetTime is after how long without use what was found out is no longer true.
	forgetTime  = 5 * time.Minute
	firstWindow = 2 << 20
	maxWindow   = 64 << 20
)

// arrived says that n bytes came. most is how many lanes there may be, active how
// many are at work.
func (t *tuner) arrived(n int, now time.Time, most, active int) {
	t.bytes += int64(n)
	took := now.Sub(t.began)
	if took < measureTime {
		return
	}
	rate, dry := float64(t.bytes)/took.Seconds(), t.dry || took > 4*measureTime
	t.began, t.bytes, t.dry, t.used = now, 0, false, now
	if dry {
		// Nothing can be said; a trial that is on its way goes on.
		return
	}
	switch t.trial {
	case moreLanes:
		if active < t.lanes && t.tries < 10*maxTries {
			t.tries++ // it is still being opened
			t.rate = max(t.rate, rate)
			return
		}
		if active < t.lanes {
			t.lanes = active
			t.noLanes.failed(now)
			break
		}
		// What a lane should bring is its share; a third of it is worth a session.
		if rate < t.rate*(1+max(0.1, 0.34/float64(t.lanes-1))) && !t.last() {
			return
		} else if rate < t.rate*(1+min(0.1, 0.34/float64(t.lanes-1))) {
			t.lanes--
			t.noLanes.failed(now)
		}
	case moreWindow:
		if rate < 1.1*t.rate && !t.last() {
			return
		} else if rate < 1.1*t.rate {
			t.window /= 2
			t.noWindow.failed(now)
		}
	}
	t.trial, t.tries, t.rate = noTrial, 0, rate
	t.next(now, most)
}

// last counts a measurement and reports whether it was the last of its trial.
func (t *tuner) last() bool {
	t.tries++
	return t.tries >= maxTries
}

// next begins a trial if there is something to try.
func (t *tuner) next(now time.Time, most int) {
	switch {
	case t.lanes < most && t.noLanes.over(now):
		t.trial = moreLanes
		t.lanes++
	case t.window < maxWindow && t.noWindow.over(now):
		t.trial = moreWindow
		t.window *= 2
	}
}

// wake says that there is something to send after a pause.
func (t *tuner) wake(now time.Time) {
	if t.lanes == 0 || now.Sub(t.used) > forgetTime {
		*t = tuner{lanes: 1, window: firstWindow}
	}
	t.began, t.bytes, t.dry = now, 0, false
}
