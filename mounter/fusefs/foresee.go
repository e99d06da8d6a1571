package fusefs

import (
	"context"
	"time"
)

// Who opens a file that was looked at some time ago makes the kernel look its name
// up, and then open it: two questions. Where the one is followed by the other, the
// name is looked up by reading the file if it is small, whose open then finds all
// that it needs.

// What became of the last lookup of a file. It is guarded by node.mu.
type lookedUp int8

const (
	notLookedUp lookedUp = iota
	justLookedUp
	foreseen // and read
)

// openSoon is within what time a file that was read at its lookup has to be opened:
// the kernel does both for one open, and an answer of the server is as old as that
// on many a link.
const openSoon = 50 * time.Millisecond

// maxForesight is how many files of a directory may be read before it is known
// whether they are opened.
const maxForesight = 16

// foresight is how many files of a directory may be read at their lookup: one for
// each that was opened after it, so that no more is read in vain than was read at
// all. It is guarded by the directory's node.mu.
type foresight int

func (f *foresight) earn() { *f = min(*f+1, maxForesight) }

// spend reports whether one may be read.
func (f *foresight) spend() bool {
	if *f == 0 {
		return false
	}
	*f--
	return true
}

// foresee reads the file of a name that is about to be looked up, where that is
// known and worth it. The caller holds no gates.
func (fs *FS) foresee(ctx context.Context, dir *node, name string) {
	n := fs.tree.child(dir, name)
	if n == nil || n.dir || fs.spec.AttrTimeout <= 0 || fs.entryValid(n) > 0 || fs.authoritative(n) {
		return
	}
	before := n.aheadOutcome(fs.spec.AttrTimeout)
	n.mu.Lock()
	small := n.info.Size <= smallFile
	n.mu.Unlock()
	dir.mu.Lock()
	worth := small && dir.foresight.spend()
	dir.mu.Unlock()
	outcome := justLookedUp
	if worth {
		outcome = foreseen
		fs.tree.ref(n)
		fs.lookAhead(ctx, n, false)
		fs.tree.unref(n)
	}
	n.mu.Lock()
	n.lookedUp, n.foreseenAt, n.foreseenIn = outcome, time.Now(), before
	n.mu.Unlock()
}

// foresaw notes that a file is opened for reading.
func (fs *FS) foresaw(n *node) {
	n.mu.Lock()
	was := n.lookedUp
	n.lookedUp = notLookedUp
	n.mu.Unlock()
	if was == notLookedUp {
		return
	}
	if dir, _ := fs.tree.location(n); dir != nil {
		dir.mu.Lock()
		dir.foresight.earn()
		dir.mu.Unlock()
	}
}
