package uftp

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// Removal is something to be removed, by [Client.RemoveSome].
type Removal struct {
	Path string
	Dir  bool // an empty directory, and not a file
}

// RemoveSome is [Client.Remove] and [Client.Rmdir] for many, in their order, one
// after the other: a round trip for up to 64 of them. It returns an error, or nil,
// for each.
func (c *Client) RemoveSome(ctx context.Context, what []Removal) []error {
	b := newSome(c, "remove", len(what), func(i int) string { return what[i].Path }, namedPath)
	b.commands = func(i int) []string {
		if what[i].Dir {
			return []string{"RMD " + wirePath(b.paths[i])}
		}
		return []string{"DELE " + wirePath(b.paths[i])}
	}
	b.verdict = func(_ *session, i int, r []reply) error {
		err := r[0].want(2)
		if b.unsure[i] && errors.Is(err, fs.ErrNotExist) {
			return nil // the lost command did it
		}
		return err
	}
	return b.run(ctx)
}

// MkdirSome is [Client.Mkdir] for many, in their order, one after the other: a round
// trip for up to 64 of them. It returns an error, or nil, for each.
func (c *Client) MkdirSome(ctx context.Context, paths []string) []error {
	b := newSome(c, opMkdir, len(paths), func(i int) string { return paths[i] }, namedPath)
	b.commands = func(i int) []string {
		return []string{"MKD " + wirePath(b.paths[i]), "STAT F " + wirePath(b.paths[i])}
	}
	b.verdict = func(_ *session, i int, r []reply) error {
		err := r[0].want(2)
		if isRefusal(err) && b.unsure[i] {
			if info, serr := infoOf(r[1]); serr == nil && info.IsDir() {
				return nil // the lost command did it
			}
		}
		return err
	}
	return b.run(ctx)
}

// SetAttrSome is [Client.SetAttr] for many, in their order, one after the other: a
// round trip for up to 64 of them, but for names with blanks. It returns an error, or
// nil, for each.
func (c *Client) SetAttrSome(ctx context.Context, paths []string, attrs []Attr) []error {
	errs := make([]error, 0, len(paths))
	for len(errs) < len(paths) {
		from, to := len(errs), len(errs)
		for to < len(paths) && !strings.Contains(paths[to], " ") && attrs[to].check() == nil {
			to++
		}
		errs = append(errs, c.setTogether(ctx, paths[from:to], attrs[from:to])...)
		if to < len(paths) {
			_, err := c.SetAttr(ctx, paths[to], attrs[to])
			errs = append(errs, err)
		}
	}
	return errs
}

// setTogether is SetAttrSome for paths without blanks.
func (c *Client) setTogether(ctx context.Context, paths []string, attrs []Attr) []error {
	b := newSome(c, opSetAttr, len(paths), func(i int) string { return paths[i] }, cleanPath)
	late := make([]bool, len(paths)) // in another zone than we thought
	b.commands = func(i int) []string {
		w := wirePath(b.paths[i])
		return append(factCommands(attrs[i].commands(c.zone.Load()), w), "STAT F "+w)
	}
	b.verdict = func(_ *session, i int, r []reply) error {
		if err := wantFacts(r[:len(r)-1]); err != nil {
			return err
		}
		got, err := epochOf(r[len(r)-1])
		late[i] = err == nil && !attrs[i].ModTime.IsZero() && got.Unix() != attrs[i].ModTime.Unix()
		return err
	}
	errs := b.run(ctx)
	for i := range errs {
		if late[i] && errs[i] == nil {
			_, errs[i] = c.SetAttr(ctx, paths[i], Attr{ModTime: attrs[i].ModTime})
		}
	}
	return errs
}

// StatSome is [Client.Stat] for many: a round trip for up to 64 of them. It returns an
// answer for each.
func (c *Client) StatSome(ctx context.Context, paths []string) []Looked {
	b := newSome(c, opStat, len(paths), func(i int) string { return paths[i] }, cleanPath)
	b.asks = true
	b.commands = func(i int) []string { return statCommands(b.paths[i]) }
	looked := make([]Looked, len(paths))
	b.verdict = func(s *session, i int, r []reply) (err error) {
		looked[i].Info, err = c.learn(s, b.paths[i], r[0], r[1])
		return err
	}
	for i, err := range b.run(ctx) {
		looked[i].Err = err
	}
	return looked
}

// some is an operation on many paths. Each has commands, which go out with those of
// others, and a verdict on the replies.
type some struct {
	c        *Client
	name     string
	paths    []string // clean
	given    func(i int) string
	asks     bool // and changes nothing
	errs     []error
	over     []bool // there is a verdict
	first    int    // of which there is none
	unsure   []bool // the commands were sent, and a reply was lost
	commands func(i int) []string
	verdict  func(s *session, i int, r []reply) error // what is no refusal is not about this one
}

func newSome(c *Client, name string, n int, given func(i int) string, clean func(string) (string, error)) *some {
	b := &some{c: c, name: name, given: given, paths: make([]string, n), errs: make([]error, n), over: make([]bool, n), unsure: make([]bool, n)}
	for i := range n {
		var err error
		if b.paths[i], err = clean(given(i)); err != nil {
			b.note(i, err)
		}
	}
	return b
}

// note notes the verdict about the i-th.
func (b *some) note(i int, err error) {
	b.over[i] = true
	if err != nil {
		b.errs[i] = wrapError(b.name, b.given(i), err)
	}
}

// run returns the verdicts. After an error that is none, such as that of ctx, it is
// that of all others.
func (b *some) run(ctx context.Context) []error {
	for batch := b.next(); len(batch) > 0; batch = b.next() {
		op := operation{name: b.name, path: b.given(batch[0]), writes: !b.asks}
		err := b.c.do(ctx, op, func(s *session) error { return b.send(s, batch) })
		if err == nil {
			continue
		}
		for i := range b.over {
			if !b.over[i] {
				b.over[i], b.errs[i] = true, renameOp(b.name, b.given(i), err)
			}
		}
	}
	return b.errs
}

// next returns which go together next.
func (b *some) next() (batch []int) {
	for b.first < len(b.over) && b.over[b.first] {
		b.first++
	}
	bytes := 0
	for i := b.first; i < len(b.paths); i++ {
		if b.over[i] {
			continue
		}
		if bytes += len(b.paths[i]); len(batch) == maxQuestions || len(batch) > 0 && bytes > maxQuestionBytes {
			break
		}
		batch = append(batch, i)
	}
	return batch
}

// send sends the commands of those of a batch that have no verdict.
func (b *some) send(s *session, batch []int) error {
	var cmds []string
	ends := make([]int, len(batch))
	for k, i := range batch {
		if !b.over[i] {
			cmds = append(cmds, b.commands(i)...)
		}
		ends[k] = len(cmds)
	}
	var replies []reply
	var err error
	if len(cmds) > 0 {
		replies, err = s.exchange(cmds...)
	}
	for k, i := range batch {
		if b.over[i] {
			continue
		}
		from := 0
		if k > 0 {
			from = ends[k-1]
		}
		if ends[k] > len(replies) { // done or not, it is asked for again
			b.unsure[i] = b.unsure[i] || s.ctl.sent
			continue
		}
		refused := b.verdict(s, i, replies[from:ends[k]])
		if refused == nil || isRefusal(refused) {
			b.note(i, refused)
			continue
		}
		b.unsure[i], err = true, refused
		replies = replies[:from] // the others may answer something else
	}
	return err
}
