package uftp

import (
	"errors"
	"fmt"
	"time"
)

// The following are called with the writer's mutex held.

// take moves what may be sent now from the queue to the pipe, and returns the
// commands for it.
func (l *writeLane) take() []byte {
	var cmds []byte
	for len(cmds) < maxCommands && l.room() {
		if l.current == nil && !l.begin() {
			break
		}
		cmds = l.command(cmds)
	}
	if len(cmds) > 0 {
		l.given = true
		l.dataCond.Signal()
		l.replyCond.Signal()
	}
	return cmds
}

// room reports whether another range may be sent.
func (l *writeLane) room() bool {
	switch {
	case len(l.pipe) >= maxGroup, !l.file.accepted && len(l.pipe) > 0, l.closed:
		return false
	case l.current != nil, len(l.pipe) < 2:
		return true // one that is sent, and one behind it
	}
	return l.inflight < min(l.window(), l.file.share())
}

// begin takes a batch from the queue.
func (l *writeLane) begin() bool {
	if l.leaves() {
		return false
	}
	f := l.file
	switch {
	case !l.s.keepAlive && len(l.pipe) > 0:
		return false // see single
	case len(f.queue) == 0:
		if l.inflight < l.window()/2 {
			l.tuner.dry = true
		}
		return false
	}
	l.current, f.queue = f.queue[0], f.queue[1:]
	l.current.lane = l
	l.inflight += l.current.bytes
	l.staff(f)
	l.calm(f)
	return true
}

// leaves reports whether the lane gives up its session when the pipe is empty: if
// others wait for it, or because it does not pay.
func (l *writeLane) leaves() bool {
	switch {
	case l.yielding:
	case l.given && int(l.pool.wanted.Load()) > l.yields:
		l.yielding = true
		l.yields++
	case l.index() > 0 && l.lanes > l.paying() && l.index() == len(l.file.lanes)-1:
		return true
	}
	return l.yielding
}

// command puts the next range of the current batch into the pipe, and its
// commands behind cmds.
func (l *writeLane) command(cmds []byte) []byte {
	b := l.current
	l.number++
	st := &store{part: b.parts[b.next], b: b, number: l.number}
	b.next++
	l.pipe = append(l.pipe, st)
	cmds = l.s.appendRange(cmds, st.off, st.n)
	cmds = append(append(append(cmds, "STOR "...), l.file.wire...), "\r\n"...)
	if b.next == len(b.parts) {
		st.last, l.current = true, nil
		cmds = l.push(appendStat(cmds, l.file.wire), st)
	}
	return cmds
}

// push hastens the reply to the STAT behind a batch, when little is queued behind it:
// then it is what somebody waits for.
func (l *writeLane) push(cmds []byte, st *store) []byte {
	if len(l.file.queue) >= len(l.file.lanes) {
		return cmds
	}
	more, replies := l.s.ctl.push()
	st.pushes = replies
	return append(cmds, more...)
}

// stopped reports whether nothing more may be sent in this burst.
func (l *writeLane) stopped() bool { return l.bad != 0 || l.err != nil || l.dataErr != nil }

func (l *writeLane) wakeAll() {
	l.sendCond.Signal()
	l.dataCond.Signal()
	l.replyCond.Signal()
}

// lose says that the session is lost. Its control connection stays: it tells when
// the server is done with it.
func (l *writeLane) lose(err error) {
	if l.err == nil {
		l.err = lost(err)
	}
	_ = l.conn.Close()
	_ = l.s.ctl.SetReadDeadline(time.Now()) // wakes the reader of replies
	l.wakeAll()
}

// spoil says what is wrong with the store of that number. Bytes that are on their
// way behind it have no place any more.
func (l *writeLane) spoil(number uint64, verdict error) {
	if l.bad != 0 && l.bad <= number {
		return
	}
	l.bad, l.verdict = number, verdict
	l.s.dropData()
	l.wakeAll()
}

// readReplies reads the replies to all that was sent.
func (l *writeLane) readReplies() {
	for {
		l.mu.Lock()
		for l.told == len(l.pipe) && !l.ended && l.err == nil {
			l.replyCond.Wait()
		}
		if l.told == len(l.pipe) || l.err != nil {
			l.mu.Unlock()
			return
		}
		st := l.pipe[l.told]
		l.mu.Unlock()
		r, err := l.s.ctl.readReply()
		l.mu.Lock()
		if err == nil {
			err = l.answer(st, r)
		}
		if err != nil {
			l.lose(err)
		}
		l.mu.Unlock()
	}
}

// The stages of a store: which reply comes next.
const (
	toRange = iota // 350
	toStore        // 150, or a refusal
	toData         // 226, or a refusal
	toLook         // 211, behind the last range of a batch
	answered
)

// answer takes note of a reply. An error means that the session is out of step.
func (l *writeLane) answer(st *store, r reply) error {
	switch st.stage {
	case toRange:
		if r.code != 350 {
			// No range: what STOR does now is not what was asked for.
			return fmt.Errorf("%w: range refused (%d: %s)", ErrProtocol, r.code, r.text)
		}
		st.stage = toStore
		l.staff(l.file) // how far away the server is may be known only now
	case toStore:
		if err := r.want(150); err != nil {
			return l.refuse(st, err)
		}
		st.stage = toData
		if !l.file.accepted {
			l.file.accepted = true
			l.sendCond.Signal()
		}
	case toData:
		if err := r.want(226); err != nil {
			return l.refuse(st, err)
		}
		l.stored(st)
	case toLook:
		if err := st.b.look(r); err != nil {
			l.spoil(st.number, err)
		}
		st.stage = answered
		l.s.ctl.owed += st.pushes
	}
	if st.stage == answered {
		l.told++
		l.retire()
	}
	return nil
}

// stored says that STOR was answered for good.
func (l *writeLane) stored(st *store) {
	if st.stage = answered; st.last {
		st.stage = toLook
	}
	if l.bad == 0 && l.pipe[l.told] == st && l.told >= l.sent {
		// The server has all of it, and so it left us: if not, it stopped reading early.
		_ = l.conn.SetWriteDeadline(time.Now().Add(tailTime))
	}
}

// refuse takes note of a refused STOR, behind which there may be a STAT.
func (l *writeLane) refuse(st *store, err error) error {
	if !isRefusal(err) {
		return err
	}
	l.file.accepted = false
	l.spoil(st.number, err)
	if st.stage = answered; st.last {
		st.stage = toLook
	} else {
		l.told++
	}
	return nil
}

// retire ends what is at the front of the pipe and was sent, confirmed, and not
// behind anything bad.
func (l *writeLane) retire() {
	k := 0
	for ; k < min(l.sent, l.told); k++ {
		st := l.pipe[k]
		if l.bad != 0 && st.number >= l.bad {
			break
		}
		l.inflight -= int(st.n)
		l.file.moved = time.Now()
		l.tuner.arrived(int(st.n), l.file.moved, l.pool.most(), l.active(), l.trip())
		if st.last {
			st.b.tell(nil)
		}
	}
	if k == 0 {
		return
	}
	l.pipe = l.pipe[:copy(l.pipe, l.pipe[k:])]
	l.sent, l.told = l.sent-k, l.told-k
	l.staff(l.file)
	l.sendCond.Signal()
}

// resolve ends a burst: what was not written is told, or sent again. It returns an
// error if the session is lost.
func (l *writeLane) resolve() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bad != 0 || l.dataErr != nil {
		l.s.dropData()
	}
	blame := l.blame()
	for _, st := range l.pipe {
		l.fall(st.b, st, blame)
	}
	if l.current != nil {
		l.fall(l.current, nil, blame)
	}
	l.pipe, l.current, l.sent, l.told, l.inflight = nil, nil, 0, 0, 0
	if l.err == nil {
		l.s.unsettled = ""
	}
	return l.err
}

// blame returns the store that what went wrong is about; nil if it is about none,
// or all.
func (l *writeLane) blame() *store {
	for _, st := range l.pipe {
		if l.bad == 0 && l.dataErr != nil || st.number == l.bad {
			return st
		}
	}
	return nil
}

// fall notes that a batch is not written, for what was wrong with its store.
func (l *writeLane) fall(b *batch, st, blame *store) {
	if b.err != nil {
		if st == nil || st != blame || !errors.Is(b.err, errAgain) {
			return
		}
	} else {
		l.fallen = append(l.fallen, b)
	}
	switch {
	case l.err != nil:
		b.err = l.err
	case st != nil && st == blame && l.verdict != nil:
		b.err = l.verdict
	case st != nil && st == blame:
		b.err = lost(l.dataErr)
	default:
		b.err = errAgain
	}
}
