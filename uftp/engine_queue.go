package uftp

import (
	"cmp"
	"slices"
	"time"
)

// smallRead is the largest read that does not wait for the bulk of others.
const smallRead = 64 << 10

// turn is how many bytes of a file are sent before it is another file's turn.
const turn = maxRange

// queue holds the fetches that have something to send. Those that somebody waits
// for come first; within a class files take turns, and a file's fetches are
// served in their order: that of [Read], and else as they came.
type queue struct {
	small, bulk, ahead class
	passed             int // how often others went first since those behind had a turn
}

const (
	// patience is how long those behind let all others pass. After it they get a
	// turn now and then: somebody may have come to wait for them.
	patience = 500 * time.Millisecond
	// nowAndThen is how often the others go before one turn of theirs.
	nowAndThen = 8
)

// next returns the fetch whose turn it is, or nil; a small one if there is no
// room for others.
func (q *queue) next(room bool, now time.Time) *fetch {
	small, bulk, ahead := q.small.head(), q.bulk.head(), q.ahead.head()
	if !room {
		return small
	}
	first := cmp.Or(small, bulk, ahead)
	if q.passed++; q.passed < nowAndThen {
		return first
	}
	for _, f := range []*fetch{ahead, bulk} {
		if f != nil && f != first && now.Sub(f.waits) > patience {
			q.passed = 0
			return f
		}
	}
	return first
}

// class is one class of a queue.
type class struct {
	lines []*line // in the order of their turns
	of    map[string]*line
	spare []*line
}

// line is the queue before one file.
type line struct {
	class       *class
	path        string
	first, last *fetch
	used        int // bytes of the present turn
}

func (q *queue) class(f *fetch) *class {
	switch {
	case f.ahead:
		return &q.ahead
	case len(f.buf) <= smallRead:
		return &q.small
	default:
		return &q.bulk
	}
}

// push adds a fetch, at the front if it was there before.
func (q *queue) push(f *fetch, front bool) {
	c := q.class(f)
	if c.of == nil {
		c.of = make(map[string]*line)
	}
	l := c.of[f.path]
	if l == nil {
		if n := len(c.spare); n > 0 {
			l, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			l = &line{class: c}
		}
		l.path, l.used = f.path, 0
		c.of[f.path] = l
		c.lines = append(c.lines, l)
	}
	f.line, f.prev, f.follow = l, nil, nil
	switch {
	case l.first == nil:
		l.first, l.last = f, f
	case front:
		f.follow, l.first.prev = l.first, f
		l.first = f
	default:
		l.insert(f)
	}
}

// insert puts f before those of a later order.
func (l *line) insert(f *fetch) {
	at := l.last
	for at != nil && at.order > f.order {
		at = at.prev
	}
	if f.prev = at; at == nil {
		f.follow, l.first = l.first, f
	} else {
		f.follow, at.follow = at.follow, f
	}
	if f.follow == nil {
		l.last = f
	} else {
		f.follow.prev = f
	}
}

// remove takes a fetch out.
func (q *queue) remove(f *fetch) {
	l := f.line
	if f.prev != nil {
		f.prev.follow = f.follow
	} else {
		l.first = f.follow
	}
	if f.follow != nil {
		f.follow.prev = f.prev
	} else {
		l.last = f.prev
	}
	f.line, f.prev, f.follow = nil, nil, nil
	if l.first == nil {
		l.class.drop(l)
	}
}

// drop removes an empty line.
func (c *class) drop(l *line) {
	for i := range c.lines {
		if c.lines[i] == l {
			c.lines = append(c.lines[:i], c.lines[i+1:]...)
			break
		}
	}
	delete(c.of, l.path)
	l.path = ""
	c.spare = append(c.spare, l)
}

// head returns the fetch whose turn it is, or nil.
func (c *class) head() *fetch {
	if len(c.lines) == 0 {
		return nil
	}
	return c.lines[0].first
}

// charge says that n bytes of the head's file were sent.
func (c *class) charge(n int) {
	l := c.lines[0]
	if l.used += n; l.used >= turn && len(c.lines) > 1 {
		l.used = 0
		copy(c.lines, c.lines[1:])
		c.lines[len(c.lines)-1] = l
	}
}

func (q *queue) empty() bool {
	return len(q.small.lines) == 0 && len(q.bulk.lines) == 0 && len(q.ahead.lines) == 0
}

// all calls do for each fetch; do may remove it.
func (q *queue) all(do func(*fetch)) {
	for _, c := range []*class{&q.small, &q.bulk, &q.ahead} {
		for _, l := range slices.Backward(c.lines) {
			for f := l.first; f != nil; {
				follow := f.follow
				do(f)
				f = follow
			}
		}
	}
}
