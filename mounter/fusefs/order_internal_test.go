package fusefs

import (
	"cmp"
	"fmt"
	"slices"
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

// scattered returns n inode numbers in no order.
func scattered(n int) []uint64 {
	inos := make([]uint64, n)
	for i := range inos {
		inos[i] = inoOf(fmt.Sprint(i))
	}
	return inos
}

// TestOrderOfInodes: who opens files in the order of their inode numbers, as cp -r
// does, finds the next ones read ahead, and nothing is read twice.
func TestOrderOfInodes(t *testing.T) {
	for _, n := range []int{5, 12, 40, 2000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			names, inos := make([]uftp.Info, n), scattered(n)
			for i := range names {
				names[i].Name = fmt.Sprintf("f%04d", i)
			}
			order := make([]int, n)
			for i := range order {
				order[i] = i
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Compare(inos[a], inos[b]) })
			o := newOrder(names, maxAhead, func() []uint64 { return inos })
			read := map[string]int{}
			late := 0
			for _, i := range order {
				what := inTime
				if read[names[i].Name] == 0 {
					what = missed
					late++
				}
				for _, e := range o.opened(names[i].Name, what, maxAhead) {
					read[e.Name]++
				}
			}
			if late > 6 {
				t.Errorf("%d of %d files were opened before they were read ahead", late, n)
			}
			twice := 0
			for _, times := range read {
				if times > 1 {
					twice++
				}
			}
			if twice > 4*minAhead {
				t.Errorf("%d of %d files were read ahead more than once", twice, n)
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
	o := newOrder(names, maxAhead, func() []uint64 { return scattered(len(names)) })
	read := 0
	for i := range 60 {
		read += len(o.opened(names[i].Name, missed, maxAhead))
	}
	if o.byName.window != maxAhead || read < maxAhead/2 {
		t.Fatalf("a window of %d, and %d files read ahead", o.byName.window, read)
	}
	if again := o.opened(names[5].Name, missed, maxAhead); len(again) > 0 || o.byName.window != maxAhead || o.byName.last != 59 {
		t.Errorf("after one who was late: %d files, a window of %d, and the last is %d", len(again), o.byName.window, o.byName.last)
	}
	for i := 60; i < 400; i++ {
		read += len(o.opened(names[i].Name, inTime, maxAhead))
	}
	if read > 400+maxAhead {
		t.Errorf("%d files read ahead of 400", read)
	}
	for _, i := range []int{900, 20, 500} {
		if ahead := o.opened(names[i].Name, missed, maxAhead); len(ahead) > 0 || o.byName.window != minAhead {
			t.Errorf("opened at random: %d files, a window of %d", len(ahead), o.byName.window)
		}
	}
}

// TestFitting counts only what would be read.
func TestFitting(t *testing.T) {
	files := []uftp.Info{{Size: 1 << 30}, {Size: 10}, {Size: smallFile + 1}, {Size: 20}, {Size: 1}}
	for bytes, want := range map[int64]int{0: 1, 10: 3, 29: 3, 30: 4, 31: 5} {
		if got := fitting(files, bytes); got != want {
			t.Errorf("%d bytes: %d files, want %d", bytes, got, want)
		}
	}
}

// TestLearn: more directories are listed ahead where that came too late, and fewer
// where it came too early.
func TestLearn(t *testing.T) {
	a := ahead{window: minAhead}
	for range 10 {
		a.learn(missed)
	}
	if a.learn(inTime); a.window != maxWindow {
		t.Errorf("a window of %d, want %d", a.window, maxWindow)
	}
	for range 10 {
		a.learn(tooEarly)
	}
	if a.window != 1 {
		t.Errorf("a window of %d, want 1", a.window)
	}
	jobs := make([]listJob, 2*maxJobs)
	if more := a.queue(jobs, nil); more != 1 || len(a.jobs) != maxJobs {
		t.Errorf("%d goroutines for %d directories", more, len(a.jobs))
	}
	if next := a.next(); len(next) != 1 {
		t.Errorf("%d directories at a time, want 1", len(next))
	}
	if next := a.next(); len(next) != 0 || a.lists != 0 {
		t.Errorf("%d more directories, and %d goroutines", len(next), a.lists)
	}
}
