package fusefs

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

const (
	// inOrder is how far from the last one another may be opened for an opener in
	// order: several threads may share the work.
	inOrder = 16
	// orderAfter is how many opens in order in a row it takes.
	orderAfter = 2
	// minAhead and maxAhead bound how many are looked at ahead of an opener.
	minAhead, maxAhead = 8, 256
)

// order is what a directory has of one kind, files or directories, and how that was
// opened. Most programs follow the listing, which is by name. Others, such as cp -r,
// and find in large directories, sort it by inode number first, which helps on disks.
type order struct {
	names []uftp.Info     // never changes
	inos  func() []uint64 // the inode numbers of all names

	mu     sync.Mutex // guards what follows
	last   int        // index of the one opened last, -1 before the first
	byName run
	byIno  run
	ranked []int32 // indexes by inode number, nil until somebody may need it
	rank   []int32 // of each name in ranked
}

// sortListing gives a listing the one order that programs expect who sort names
// themselves; the server's is none.
func sortListing(entries []uftp.Info) {
	slices.SortFunc(entries, func(a, b uftp.Info) int { return strings.Compare(a.Name, b.Name) })
}

// newOrder is for what is sorted by name. At most most are looked at ahead. inos is
// called once, if at all.
func newOrder(names []uftp.Info, most int, inos func() []uint64) *order {
	return &order{names: names, inos: inos, last: -1, byName: newRun(most), byIno: newRun(most)}
}

// outcome says what reading ahead did for an open.
type outcome int

const (
	missed outcome = iota // nothing yet: it comes too late, or was not begun
	inTime
	tooEarly // what was learned then is too old to be believed
)

// opened notes that one was opened and returns which to look at ahead now, room at
// most.
func (o *order) opened(name string, what outcome, room int) []uftp.Info {
	i, ok := slices.BinarySearchFunc(o.names, name, func(e uftp.Info, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.last
	o.last = i
	o.byName.step(i, what)
	if o.ranked == nil && before >= 0 && o.byName.exact == 0 {
		o.rankLocked()
		o.byIno.step(int(o.rank[before]), what)
	}
	if o.ranked != nil {
		o.byIno.step(int(o.rank[i]), what)
	}
	return o.takeLocked(o.inosLocked(), room)
}

// begin is for a directory of which nothing was opened yet, but will be: it returns
// which to look at ahead, up to window and room, and those that follow when it is
// called again.
func (o *order) begin(window int, byIno bool, room int) []uftp.Info {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &o.byName
	if byIno {
		r = &o.byIno
		o.rankLocked()
	}
	r.streak, r.window = max(r.streak, orderAfter), max(r.window, window)
	return o.takeLocked(byIno, room)
}

// afresh forgets what was looked at ahead, too long ago to be of use.
func (o *order) afresh() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byName.next, o.byIno.next = o.byName.last+1, o.byIno.last+1
}

// pace returns how many are looked at ahead of who opens them in order, and in
// which; 0 if nobody does.
func (o *order) pace() (window int, byIno bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, byIno := &o.byName, o.inosLocked()
	if byIno {
		r = &o.byIno
	}
	if r.streak < min(orderAfter, len(o.names)) {
		return 0, false
	}
	return r.window, byIno
}

// inosLocked reports whether who opens them does so in the order of inode numbers.
func (o *order) inosLocked() bool {
	return o.byIno.exact >= orderAfter && o.byIno.exact > o.byName.exact
}

func (o *order) takeLocked(byIno bool, room int) []uftp.Info {
	if !byIno {
		from, to := o.byName.take(len(o.names), room)
		return o.names[from:to]
	}
	from, to := o.byIno.take(len(o.names), room)
	next := make([]uftp.Info, 0, to-from)
	for _, k := range o.ranked[from:to] {
		next = append(next, o.names[k])
	}
	return next
}

func (o *order) rankLocked() {
	if o.ranked != nil {
		return
	}
	inos := o.inos()
	o.ranked, o.rank = make([]int32, len(inos)), make([]int32, len(inos))
	for i := range o.ranked {
		o.ranked[i] = int32(i) // no directory has 2^31 entries in memory
	}
	slices.SortFunc(o.ranked, func(a, b int32) int { return cmp.Compare(inos[a], inos[b]) })
	for place, i := range o.ranked {
		o.rank[i] = int32(place)
	}
}

// run is how somebody goes through a sequence.
type run struct {
	last   int // index of the furthest of this streak, -1 before the first
	streak int
	exact  int // how many in a row came right after the one before
	window int // how many to be ahead, at most most
	most   int
	next   int // index of the first that was not looked at ahead
}

func newRun(most int) run { return run{last: -1, window: minAhead, most: most} }

// step notes that the i-th was opened.
func (r *run) step(i int, what outcome) {
	if r.late(i) {
		return
	}
	exact := r.exact + 1
	if i != r.last+1 {
		exact = 0
	}
	if r.last < 0 && i > inOrder || r.last >= 0 && (i < r.last-inOrder || i > r.last+inOrder) {
		*r = newRun(r.most)
		r.last = i
		return
	}
	r.streak++
	r.exact = exact
	r.last = max(r.last, i)
	if what == tooEarly {
		r.next = r.last + 1
	}
	if r.streak > orderAfter {
		switch what {
		case missed:
			r.window = min(2*r.window, r.most)
		case tooEarly:
			r.window = max(r.window/2, minAhead)
		case inTime:
		}
	}
}

// late reports whether the i-th was left by one of several threads, which had to
// wait while the others did not.
func (r *run) late(i int) bool {
	return r.streak > orderAfter && i < r.last-inOrder && i >= r.last-r.window
}

// take returns which of n to look at ahead now, room at most.
func (r *run) take(n, room int) (from, to int) {
	if r.streak < orderAfter {
		return 0, 0
	}
	from = max(r.next, r.last+1)
	to = min(r.last+1+r.window, n)
	if from >= to || to-from < r.window/4 && to < n {
		return 0, 0 // a few more together cost the same
	}
	to = min(to, from+max(room, 0))
	r.next = to
	return from, to
}
