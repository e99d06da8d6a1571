package fusefs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// generation is that of all node ids: they are never used twice.
const generation = 1

// racyWindow is how far a file's modification time must lie back for a change
// after it to be sure to show: a second is the resolution of the server's times,
// and another what clocks may differ by.
const racyWindow = 2 * time.Second

// Place says where a node is.
type Place uint8

// The places of a node.
const (
	Linked  Place = iota // has a path that others see
	Hidden               // removed while open: has a path that is ours alone
	Removed              // removed by us: has no path
	Lost                 // removed or replaced by others: has no path
)

// node is a file or a directory that the kernel or we need to know.
type node struct {
	id, ino uint64
	dir     bool

	entries *gate                   // directories only: their names
	orders  atomic.Pointer[orders]  // directories only: see keepOrders
	early   atomic.Pointer[early]   // directories only: see listAhead
	absent  atomic.Pointer[absence] // directories only: see justAbsent
	below   atomic.Pointer[node]    // directories only: what was looked up last, see along
	op      *gate                   // path and content

	// Place and users: guarded by tree.mu.
	parent   *node
	name     string
	children map[string]*node
	place    Place
	moved    bool                 // by us
	heirs    map[string]time.Time // directories only: when files of such names were given up, see tree.giveUp
	heir     time.Time            // when the file was given up that had its name
	lookups  uint64               // the kernel's references
	refs     int                  // ours: handles, dirty data, cleaning up
	opens    int                  // file handles

	mu sync.Mutex // guards what follows

	info uftp.Info // what the server said last
	at   time.Time // when; zero if it is to be asked again

	// Ticks order what is heard about a node: see FS.tick. An answer counts if
	// it was asked for after the last one that counted and after our last
	// change.
	asked, changed uint64
	changing       int  // changes of ours under way
	unsettled      bool // a change of ours failed half way: the next answer explains it

	epoch uint64    // versions that were not ours
	seq   uint64    // contents, ours and others'
	since time.Time // when the last change by others was learned

	// When the server last said that the version was still the same, apart from
	// what asked and at say, and whether somebody asked so because n is about to
	// be opened, and when.
	checked    uint64
	checkedAt  time.Time
	ahead      bool
	aheadOf    uint64
	lookedUp   lookedUp // files only
	foreseenAt time.Time
	foreseenIn outcome   // what reading ahead had done before that
	foresight  foresight // directories only

	openedAt    time.Time // last open that the caches were emptied for; zero: never open
	openedEpoch uint64    // and the epoch then
	emptying    time.Time // until when the kernel's may not be empty yet
	handles     map[*handle]struct{}
	passed      *passed // what the kernel reads itself, while somebody has it open

	toldSize  int64     // what the kernel was told last
	toldUntil time.Time // and for how long it may believe that

	wrote     time.Time // last write that is not on the server
	uploading bool
	failure   error // of the last upload, nil if it went well
	untold    error // of one whose bytes had all arrived, until a program is told
}

func newNode(id, ino uint64, dir bool) *node {
	n := &node{id: id, ino: ino, dir: dir, op: newGate()}
	if dir {
		n.entries = newGate()
	}
	return n
}

// learn notes what the server said about n when it was asked at tick. It
// reports whether it shows a change by others. n.mu is held.
func (n *node) learn(info uftp.Info, tick uint64, now time.Time) (changed bool) {
	if !n.counts(tick) {
		return false
	}
	differs := n.differs(info, tick)
	n.asked = tick
	if differs {
		if !n.unsettled {
			n.epoch++
		}
		n.seq++
		n.since, changed = now, true
	}
	n.unsettled = false
	n.info, n.at = info, now
	return changed
}

// counts reports whether what the server said when it was asked at tick is news.
// n.mu is held.
func (n *node) counts(tick uint64) bool {
	return n.changing == 0 && tick > n.asked && tick > n.changed
}

// differs reports whether info, which the server was asked for at tick, shows
// another content. n.mu is held.
func (n *node) differs(info uftp.Info, tick uint64) bool {
	return !n.dir && n.counts(tick) && !sameVersion(n.info, info)
}

// onlyRead reports whether n is open, and nobody has it open to write. n.mu is
// held.
func (n *node) onlyRead() bool {
	for h := range n.handles {
		if h.writable() {
			return false
		}
	}
	return len(n.handles) > 0
}

// install notes what the server said after a change of ours. n.mu is held.
func (n *node) install(info uftp.Info, tick uint64, now time.Time) {
	n.seq++
	n.unsettled = false
	n.info, n.at, n.asked, n.changed = info, now, tick, tick
}

func sameVersion(a, b uftp.Info) bool {
	return a.Size == b.Size && a.ModTime.Equal(b.ModTime)
}

// version returns the key of n's content on the server. n.mu is held.
func (n *node) version() blockcache.Version {
	return blockcache.Version{Size: n.info.Size, ModTime: n.info.ModTime.UnixNano(), Seq: n.seq}
}
