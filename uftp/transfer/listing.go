package transfer

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

const (
	// maxUntaken is how many directories may be listed that nobody has got to yet, or
	// be on their way; not with more than maxEntries entries together.
	maxUntaken = 256
	maxEntries = 100_000
	// listTogether is how many are worth listing ahead: fewer wait for others.
	listTogether = uftp.MaxListSome
	// listWorkers is how many sessions list directories ahead.
	listWorkers = 2
	// smallDir is the size of the largest directory that is listed with others. What
	// that says depends on the server's disk: a name takes 20 to 40 bytes.
	smallDir = 64 << 10
)

// lister lists the directories of a tree before their turn, for somebody who goes
// through all of it by name, and down first: many small directories do not cost a
// round trip each.
type lister struct {
	t      Tree
	ctx    context.Context // of listings
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	known   map[string]*listing
	queue   []*listing // not begun, in the order in which they will be taken
	begun   int        // of those known
	entries int        // of those known
	workers int
}

// listing is the list of a directory that is on its way, or has come.
type listing struct {
	dir   string
	small bool // by its size
	done  chan struct{}
	infos []uftp.Info // sorted by name; once done is closed
	err   error

	// Guarded by the lister's mutex:
	wanted  bool // somebody waits for it
	begun   bool
	dropped bool // or taken
	counted int  // entries
	below   []*listing
}

func newLister(ctx context.Context, t Tree) *lister {
	l := &lister{t: t, known: make(map[string]*listing)}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// close ends listings that nobody has waited for.
func (l *lister) close() {
	l.cancel()
	l.wg.Wait()
}

// begin has a directory listed next, and what is below it after that.
func (l *lister) begin(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beginLocked(dir)
}

func (l *lister) beginLocked(dir string) *listing {
	n := l.known[dir]
	if n == nil || !n.begun && !n.wanted {
		if n != nil {
			n.dropped = true // from where it is in the queue
		}
		n = &listing{dir: dir, wanted: true, done: make(chan struct{})}
		l.known[dir] = n
		l.queue = slices.Insert(l.queue, 0, n)
		l.workLocked()
	}
	return n
}

// take returns the entries of a directory, sorted by name.
func (l *lister) take(dir string) ([]uftp.Info, error) {
	l.mu.Lock()
	n := l.beginLocked(dir)
	l.mu.Unlock()
	<-n.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[dir] == n {
		l.forgetLocked(n)
	}
	l.workLocked()
	return n.infos, n.err
}

// drop forgets directories that nobody will go through, with what is below them.
func (l *lister) drop(dirs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, dir := range dirs {
		if n := l.known[dir]; n != nil {
			l.dropLocked(n)
		}
	}
	l.workLocked()
}

func (l *lister) dropLocked(n *listing) {
	if l.known[n.dir] != n {
		return // it was taken, and what is below it is somebody's
	}
	l.forgetLocked(n)
	for _, below := range n.below {
		l.dropLocked(below)
	}
}

func (l *lister) forgetLocked(n *listing) {
	delete(l.known, n.dir)
	if n.dropped = true; n.begun {
		l.begun--
		l.entries -= n.counted
	}
}

// workLocked sees that somebody lists what may be listed.
func (l *lister) workLocked() {
	for l.workers < listWorkers && l.mayLocked() {
		l.workers++
		l.wg.Go(func() {
			for batch := l.next(); len(batch) > 0; batch = l.next() {
				l.list(batch)
			}
		})
	}
}

// mayLocked reports whether there is a directory to be listed now, at the head of the
// queue then.
func (l *lister) mayLocked() bool {
	for len(l.queue) > 0 && l.queue[0].dropped {
		l.queue = l.queue[1:]
	}
	return len(l.queue) > 0 && (l.queue[0].wanted || l.begun <= maxUntaken-listTogether && l.entries < maxEntries)
}

// next returns what is to be listed together, and counts the caller out if that is
// nothing.
func (l *lister) next() (batch []*listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mayLocked() && len(batch) < listTogether {
		n := l.queue[0]
		if len(batch) > 0 && (!n.small || !batch[0].small) {
			break
		}
		batch, l.queue = append(batch, n), l.queue[1:]
	}
	for _, n := range batch {
		n.begun = true
		l.begun++
	}
	if len(batch) == 0 {
		l.workers--
	}
	return batch
}

// list lists directories, and queues those in them.
func (l *lister) list(batch []*listing) {
	l.listAll(batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range batch {
		slices.SortFunc(n.infos, func(a, b uftp.Info) int { return cmp.Compare(a.Name, b.Name) })
		close(n.done)
		if l.known[n.dir] != n {
			continue // dropped
		}
		n.counted = len(n.infos)
		l.entries += n.counted
		for _, info := range n.infos {
			dir := path.Join(n.dir, info.Name)
			if info.IsDir() && !isPart(info.Name) && l.known[dir] == nil {
				below := &listing{dir: dir, small: info.Size <= smallDir, done: make(chan struct{})}
				l.known[dir] = below
				n.below = append(n.below, below)
			}
		}
		l.enqueueLocked(n.below)
	}
	l.workLocked()
}

// enqueueLocked queues the directories of one, which follow one another.
func (l *lister) enqueueLocked(some []*listing) {
	if len(some) == 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(l.queue, some[0], func(a, b *listing) int {
		return cmp.Compare(strings.ReplaceAll(a.dir, "/", "\x00"), strings.ReplaceAll(b.dir, "/", "\x00"))
	})
	l.queue = slices.Insert(l.queue, at, some...)
}

// listAll asks the tree.
func (l *lister) listAll(batch []*listing) {
	if len(batch) > 1 {
		dirs := make([]string, len(batch))
		for i, n := range batch {
			dirs[i] = n.dir
		}
		listings, err := l.t.ListSome(l.ctx, dirs)
		if err == nil || fatal(l.ctx, err) {
			for i, n := range batch {
				if n.err = err; err == nil {
					n.infos, n.err = listings[i].Entries, listings[i].Err
				}
			}
			return
		}
	}
	for _, n := range batch {
		n.infos, n.err = l.t.List(l.ctx, n.dir)
	}
}
