package uftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// A writeLane is a session at work for a writer, on one file. It sends RANG and
// STOR pairs ahead; the server takes their bytes one after another from the data
// connection and confirms each on the control connection. So a lane has three
// goroutines: the sender of commands, the sender of bytes, and the reader of
// replies.
//
// # Whose bytes they are
//
// Nothing on the data connection says where one range ends and the next begins. A
// STOR that is refused leaves its bytes for the one behind it, so
//
//   - a lane has ranges of one file only, and sends nothing behind the first one
//     before the server has begun to write to that file;
//   - a range counts as written when all its bytes were sent, the server confirmed
//     it, and everything before it; and its batch when a STAT behind its last range
//     shows a file that is large enough.
//
// # When something is wrong
//
// A refused or failed range, or one whose caller gave up, is the end of a burst:
// nothing more is sent, the data connection is closed, and the server answers what
// is left of the commands. The batch is told what was wrong; those behind it, whose
// bytes may be in another's place, are sent again. The session goes on with another
// data connection. Only a session that broke or is out of step is lost, and then
// nobody is told before the server was seen to finish with it, or is remembered to
// write late (session_late.go).
type writeLane struct {
	*writer
	file   *outlet
	ctx    context.Context // of waiting for a session
	cancel context.CancelFunc

	sendCond, dataCond, replyCond sync.Cond

	// The following are guarded by the writer's mutex.
	s        *session // nil while there is none
	conn     net.Conn
	current  *batch   // begun, and not all of it sent
	pipe     []*store // in the order of sending
	sent     int      // of pipe, whose bytes are all sent
	told     int      // of pipe, that the server has answered
	number   uint64   // of the last store
	inflight int      // bytes of the pipe, and of what is to be sent of current
	given    bool     // something was sent since the lane got its session
	yielding bool     // others get the session when the pipe is empty
	ended    bool     // nothing more will be sent in this burst
	fallen   []*batch // that are not written, with their errors
	buf      []byte   // of the sender of bytes

	writeTrouble
}

// writeTrouble is what went wrong in a burst.
type writeTrouble struct {
	bad     uint64 // number of the first store that is not good; 0 if all are
	verdict error  // what is wrong with it
	dataErr error  // of the data connection
	err     error  // of the session
}

// store is a range on its way.
type store struct {
	part
	b      *batch
	number uint64
	last   bool // of its batch: there is a STAT behind it
	pushes int  // how many lines answer the push behind that
	stage  int  // how many replies have come
}

// fillSize is how much of a batch is copied at once on its way.
const fillSize = 256 << 10

func newWriteLane(w *writer, f *outlet) *writeLane {
	l := &writeLane{writer: w, file: f}
	l.ctx, l.cancel = context.WithCancel(w.ctx)
	for _, c := range []*sync.Cond{&l.sendCond, &l.dataCond, &l.replyCond} {
		c.L = &w.mu
	}
	return l
}

// live works as long as there is something to do.
func (l *writeLane) live() {
	defer func() { l.cancel() }()
	for {
		s, err := l.pool.acquireBulk(l.ctx, l.extra())
		if err != nil && l.ctx.Err() == nil {
			l.mu.Lock()
			l.refused(l.file, err)
			l.mu.Unlock()
		}
		if err == nil {
			l.use(s)
			l.pool.release(s)
		}
		l.mu.Lock()
		l.s = nil
		if l.yielding {
			l.yielding = false
			l.yields--
		}
		if len(l.file.queue) == 0 || l.closed || l.index() >= l.wanted(l.file) {
			l.quit()
			l.mu.Unlock()
			return
		}
		l.renew()
		l.mu.Unlock()
	}
}

// renew makes the lane able to wait again. The mutex is held.
func (l *writeLane) renew() {
	if l.ctx.Err() != nil {
		l.ctx, l.cancel = context.WithCancel(l.writer.ctx)
	}
}

// extra reports whether the file has lanes before this one.
func (l *writeLane) extra() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index() > 0
}

// index returns the place among the file's lanes, oldest first. The mutex is held.
func (l *writeLane) index() int { return slices.Index(l.file.lanes, l) }

// quit takes the lane out. The mutex is held.
func (l *writeLane) quit() {
	l.file.lanes = slices.DeleteFunc(l.file.lanes, func(other *writeLane) bool { return other == l })
	l.lanes--
	l.calm(l.file)
}

// use works with a session until there is nothing more to do, somebody else
// wants it, or it is lost.
func (l *writeLane) use(s *session) {
	l.mu.Lock()
	l.s, l.given = s, false
	l.mu.Unlock()
	_ = s.run(context.Background(), func() error { // told to those whom it concerns
		for {
			more, err := l.burst()
			if err != nil || !more {
				return err
			}
			l.tell()
		}
	})
	l.tell()
}

// tell tells the batches that are not written.
func (l *writeLane) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.fallen {
		b.tell(b.err)
	}
	l.fallen = nil
}

// burst sends as long as there is something to do. It reports whether there may
// be more to do with the session.
func (l *writeLane) burst() (more bool, err error) {
	l.mu.Lock()
	l.writeTrouble, l.ended = writeTrouble{}, false
	cmds := l.take()
	l.mu.Unlock()
	if len(cmds) == 0 {
		return false, nil
	}
	l.s.setPhase(storing)
	if !l.s.keepAlive {
		return true, l.single()
	}
	conn, err := l.s.transferPacket(cmds)
	l.mu.Lock()
	l.conn, l.err = conn, err
	l.mu.Unlock()
	if err == nil {
		l.s.unsettled = l.file.path
		var wg sync.WaitGroup
		wg.Go(l.sendCommands)
		wg.Go(l.sendBytes)
		l.readReplies()
		wg.Wait()
	}
	return true, l.resolve()
}

// sendCommands sends while there is something to send and the pipe has room for
// it.
func (l *writeLane) sendCommands() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.stopped() {
		waits := l.told == len(l.pipe) // for a round trip
		if cmds := l.take(); len(cmds) > 0 {
			if waits {
				l.s.trips.Add(1)
			}
			l.mu.Unlock()
			err := l.s.ctl.sendAhead(cmds)
			l.mu.Lock()
			if err != nil {
				l.lose(err)
			}
			continue
		}
		if len(l.pipe) == 0 {
			break
		}
		l.sendCond.Wait()
	}
	l.ended = true
	l.wakeAll()
}

// sendBytes sends the bytes of the pipe.
func (l *writeLane) sendBytes() {
	m := &moved{all: &l.s.progress, limit: &l.s.limit, life: l.s.life}
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for l.sent == len(l.pipe) && !l.ended && !l.stopped() {
			l.dataCond.Wait()
		}
		if l.sent == len(l.pipe) || l.stopped() {
			return
		}
		st := l.pipe[l.sent]
		l.mu.Unlock()
		before := m.n.Load()
		err := l.give(st, m)
		l.s.sent.Add(m.n.Load() - before)
		l.mu.Lock()
		switch f, ours := errors.AsType[*final](err); {
		case ours:
			l.spoil(st.number, f)
			return
		case err != nil:
			l.dataErr = err
			_ = l.conn.Close() // which makes the server go on
			_ = l.s.ctl.SetReadDeadline(time.Now().Add(min(replyGrace, l.s.stall)))
			l.wakeAll()
			return
		}
		l.sent++
		l.retire()
	}
}

// give sends the bytes of one store. A failure of what gives them is final.
func (l *writeLane) give(st *store, m *moved) error {
	if st.data != nil {
		return writeFull(l.conn, st.data, l.s.stall, m)
	}
	if l.buf == nil {
		l.buf = make([]byte, fillSize)
	}
	for off, end := st.off, st.off+st.n; off < end; {
		buf := l.buf[:min(fillSize, end-off)]
		if err := st.b.fill(buf, off); err != nil {
			return &final{err}
		}
		if err := writeFull(l.conn, buf, l.s.stall, m); err != nil {
			return err
		}
		off += int64(len(buf))
	}
	return nil
}

// single writes one batch on a session that cannot have several on their way.
func (l *writeLane) single() error {
	l.mu.Lock()
	b, path := l.pipe[0].b, l.file.path
	l.pipe, l.current = nil, nil
	l.mu.Unlock()
	parts, err := b.load()
	if err == nil {
		b.after, err = l.s.writeSingly(path, parts)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight, b.err = 0, err
	l.fallen = append(l.fallen, b)
	if err != nil && !isRefusal(err) {
		l.err = err
	}
	return l.err
}

// load returns a batch as ranges in memory.
func (b *batch) load() ([]WriteRange, error) {
	parts := make([]WriteRange, len(b.parts))
	for i, p := range b.parts {
		if p.data == nil {
			p.data = make([]byte, p.n)
			if err := b.fill(p.data, p.off); err != nil {
				return nil, &final{err}
			}
		}
		parts[i] = WriteRange{Off: p.off, Data: p.data}
	}
	return parts, nil
}

// giveUp ends a burst for a batch whose caller gave up. A server that does not
// finish soon loses the session. The mutex is held.
func (l *writeLane) giveUp(b *batch) {
	for _, st := range l.pipe {
		if st.b == b {
			l.spoil(st.number, errAgain)
			break
		}
	}
	if b == l.current && l.bad == 0 {
		l.spoil(l.number+1, errAgain)
	}
	if s := l.s; s != nil {
		life := s.life
		time.AfterFunc(graceTime, func() {
			l.mu.Lock()
			stuck := b.lane == l && !b.over()
			l.mu.Unlock()
			if stuck && life.Err() == nil {
				s.abort()
			}
		})
	}
}

// over reports whether a batch was told how it went.
func (b *batch) over() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// look compares what a STAT says of the file with what was written.
func (b *batch) look(r reply) error {
	if err := r.want(211); err != nil {
		return err
	}
	info, ok := statInfo(r)
	if !ok || info.Size < b.end {
		return fmt.Errorf("%w: file ends at %d after writing up to %d", ErrUnavailable, info.Size, b.end)
	}
	b.after = info
	return nil
}
