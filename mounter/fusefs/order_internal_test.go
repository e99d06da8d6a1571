package fusefs

import (
	"fmt"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// TestOutcomeOfReadingAhead: a file that is being asked about comes too late, however
// long ago something was heard of it before.
func TestOutcomeOfReadingAhead(t *testing.T) {
	const valid, asked = time.Minute, 7
	for name, tc := range map[string]struct {
		ahead   bool
		checked uint64 // the last answer
		age     time.Duration
		want    outcome
	}{
		"not begun":           {false, asked + 1, 0, missed},
		"never answered":      {true, 0, time.Hour, missed},
		"only before":         {true, asked - 1, time.Hour, missed},
		"answered":            {true, asked + 1, time.Second, inTime},
		"answered before age": {true, asked + 1, time.Hour, tooEarly},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(2, 2, false)
			n.ahead, n.aheadOf, n.checked, n.checkedAt = tc.ahead, asked, tc.checked, time.Now().Add(-tc.age)
			if got := n.aheadOutcome(valid); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// TestOrderOfThreads: one of several threads that falls behind the others does not
// end what is read ahead of them; somebody who opens files anywhere does.
func TestOrderOfThreads(t *testing.T) {
	names := make([]uftp.Info, 1000)
	for i := range names {
		names[i].Name = fmt.Sprintf("f%04d", i)
	}
	o := newOrder(names)
	read := 0
	for i := range 60 {
		read += len(o.opened(names[i].Name, missed))
	}
	if o.window != maxAhead || read < maxAhead/2 {
		t.Fatalf("a window of %d, and %d files read ahead", o.window, read)
	}
	if again := o.opened(names[5].Name, missed); len(again) > 0 || o.window != maxAhead || o.last != 59 {
		t.Errorf("after one who was late: %d files, a window of %d, and the last is %d", len(again), o.window, o.last)
	}
	for i := 60; i < 400; i++ {
		read += len(o.opened(names[i].Name, inTime))
	}
	if read > 400+maxAhead {
		t.Errorf("%d files read ahead of 400", read)
	}
	for _, i := range []int{900, 20, 500} {
		if ahead := o.opened(names[i].Name, missed); len(ahead) > 0 || o.window != minAhead {
			t.Errorf("opened at random: %d files, a window of %d", len(ahead), o.window)
		}
	}
}
