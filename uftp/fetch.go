package uftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxRange is the most that one range of a pipe holds: large enough to make the
// commands cheap, small enough to let others pass.
const maxRange = 1 << 20

// A fetch is a read that a caller waits for. Its buffer is cut into spans as
// they are sent. Everything but what comes first is guarded by the engine's
// mutex, until done has been told.
type fetch struct {
	path  string // clean
	wire  string
	off   int64
	buf   []byte
	ahead bool
	order int64
	look  bool          // wants to know what the file is afterwards
	since time.Time     // when the operation began, or something of it arrived
	waits time.Time     // since when it is in the queue
	done  chan struct{} // told once, when it is over

	next   int    // where the next new span begins
	redo   []span // spans to send before
	end    int    // the file has no byte from here on
	live   int    // spans on their way
	alone  bool   // a span is on its way that says whether there is more
	queued bool
	over   bool
	err    error
	after  look
	looks  int
	mixed  bool // looks differ: the file changed in between

	prev, follow *fetch // in its line
	line         *line
}

// span is a part of a fetch's buffer.
type span struct {
	pos, n int
	alone  bool // nothing may be sent behind it: its length is in doubt
}

// hasMore reports whether there are spans to send.
func (f *fetch) hasMore() bool {
	return !f.over && f.err == nil && !f.alone && (len(f.redo) > 0 || f.next < f.end)
}

// unsent returns how many bytes there are to send.
func (f *fetch) unsent() int {
	n := f.end - f.next
	for _, sp := range f.redo {
		n += sp.n
	}
	return n
}

// span returns the span to send next, of at most most bytes if it is a new one.
func (f *fetch) span(most int) span {
	if len(f.redo) > 0 {
		return f.redo[0]
	}
	return span{pos: f.next, n: min(most, f.end-f.next)}
}

// taken says that sp, which span returned, is on its way.
func (f *fetch) taken(sp span) {
	if len(f.redo) > 0 {
		f.redo = f.redo[:copy(f.redo, f.redo[1:])]
	} else {
		f.next += sp.n
	}
	f.live++
	f.alone = sp.alone
}

// ends says that the file has no byte at pos.
func (f *fetch) ends(pos int) {
	f.end = min(f.end, pos)
	f.next = min(f.next, f.end)
	keep := f.redo[:0]
	for _, sp := range f.redo {
		if sp.pos < f.end {
			keep = append(keep, sp)
		}
	}
	f.redo = keep
}

// looked notes what the file is behind a span.
func (f *fetch) looked(k look) {
	if f.looks++; f.looks > 1 && (versionOf(k.info) != versionOf(f.after.info) || k.ok != f.after.ok) {
		f.mixed = true
	}
	f.after = k
}

// fetch reads into buf at off of a clean path. It tells what the file was
// afterwards if wantLook.
func (c *Client) fetch(ctx context.Context, op operation, path string, r Read, wantLook bool) (int, Info, error) {
	f := c.engine.newFetch()
	defer c.engine.forget(f)
	f.path, f.wire, f.off, f.buf, f.look = path, wirePath(path), r.Off, r.Buf, wantLook
	f.ahead, f.order = r.Ahead, r.Order
	f.end, f.since = len(r.Buf), time.Now()
	for n := 0; ; n++ {
		err := c.engine.read(ctx, f)
		if err == nil {
			break
		}
		again := retryable(err) || n == 0 && outOfStep(err)
		if !again || ctx.Err() != nil {
			return 0, Info{}, wrapError(op.name, op.path, err)
		}
		c.retries.Add(1)
		if err := c.rest(ctx, f.since, n, err); err != nil {
			return 0, Info{}, wrapError(op.name, op.path, err)
		}
	}
	if f.mixed {
		// Looks on several sessions come in no order: one after all of them.
		f.after = look{ok: true}
		if err := c.do(ctx, op, func(s *session) (err error) { f.after.info, err = s.look(path); return err }); err != nil {
			return f.end, Info{}, err
		}
	}
	if f.after.err != nil {
		return f.end, Info{}, wrapError(op.name, op.path, f.after.err)
	}
	f.after.info.Name = baseName(path)
	if f.end < len(r.Buf) {
		return f.end, f.after.info, io.EOF
	}
	return f.end, f.after.info, nil
}

// rest waits after the n-th failed attempt of an operation that began at since,
// and fails when it may not wait that long.
func (c *Client) rest(ctx context.Context, since time.Time, n int, err error) error {
	wait, cancel := context.WithDeadline(ctx, since.Add(c.cfg.IOTimeout))
	defer cancel()
	if pause(wait, backoff(n)) == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// isEOF reports our own end of file, not a connection's.
func isEOF(err error) bool { return errors.Is(err, io.EOF) && !errors.Is(err, ErrUnavailable) }
