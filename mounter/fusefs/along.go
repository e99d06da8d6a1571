package fusefs

import (
	"context"
	"errors"
	iofs "io/fs"
	"time"
)

// What the kernel has known for longer than the timeouts it looks up again, one name
// of a path after the other, and each would cost a round trip. It does not say where it
// is going; but mostly that is where it went the last time.

// maxAlong is how many names are asked for together.
const maxAlong = 32

// along asks what a directory is that is to be asked for, together with what was
// looked up last in it, and in that, and so on. What it does not learn, because
// somebody changes it, is for others to ask. The caller holds no gates.
func (fs *FS) along(ctx context.Context, dir *node) error {
	if min(fs.spec.AttrTimeout, fs.spec.EntryTimeout) < openSoon {
		return nil // an answer would be too old when the kernel looks the next name up
	}
	if line := fs.lineFrom(dir); len(line) > 1 {
		return fs.askTogether(ctx, line)
	}
	return nil
}

// askTogether asks the server about several nodes in one question, those that others
// are in first; not at all if somebody changes one of them right now. Its error is
// that of the question.
func (fs *FS) askTogether(ctx context.Context, line []*node) error {
	claims, paths := make([]claim, len(line)), make([]string, len(line))
	for i, n := range line {
		claims[i] = claim{n: n, op: shared}
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	release, err := fs.lock(now, claims...)
	if err != nil {
		return nil
	}
	defer release()
	for i, n := range line {
		paths[i], _ = fs.tree.path(n)
	}
	tick := fs.tick()
	answers := fs.server.StatSome(ctx, paths)
	for i, looked := range answers {
		n := line[i]
		_, place := fs.tree.status(n)
		switch {
		case place != Linked: // what it is in is another one
		case errors.Is(looked.Err, iofs.ErrNotExist), looked.Err == nil && looked.Info.IsDir() != n.dir:
			_ = fs.lose(n, looked.Err)
		case looked.Err == nil:
			_ = fs.hear(n, looked.Info, tick, time.Now())
		}
	}
	if err := answers[0].Err; away(err) || ctx.Err() != nil {
		return err
	}
	return nil
}

// lineFrom returns a directory and what was looked up last below it, one in the other,
// as far as the server is to be asked about it; nothing if that is not so of dir.
func (fs *FS) lineFrom(dir *node) (line []*node) {
	for n, up := dir, (*node)(nil); n != nil && len(line) < maxAlong; n, up = n.below.Load(), n {
		if up != nil {
			if at, _ := fs.tree.location(n); at != up {
				break
			}
		}
		if _, place := fs.tree.status(n); place != Linked {
			break
		}
		if !fs.authoritative(n) && !n.believed(min(fs.spec.AttrTimeout, fs.spec.EntryTimeout)) {
			line = append(line, n)
		} else if up == nil {
			return nil
		}
	}
	return line
}
