package fusefs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// Programs that go through a tree (find, du, tar, cp -r) list one directory after
// the other, in the order of the listing that they are in, and each costs some
// round trips. So those that come next are listed before anybody reads them, with
// what is in them, and where the files of others were read, theirs are, too.
const (
	// maxWindow is how many directories may be listed that nobody has read yet, or be
	// on their way, and maxLists on how many sessions: others want some. maxJobs is
	// how many more may be known to come next.
	maxWindow = 64
	maxLists  = 2
	maxJobs   = 256
	// maxDir is the size of the largest directory that is listed ahead. What that says
	// depends on the server's disk: a name takes 20 to 40 bytes.
	maxDir = 64 << 10
	// minRead is how many files of a directory are read at first, if files of others
	// were.
	minRead = 32
	// earlyTime is for how long what is learned ahead is kept, at most.
	earlyTime = 5 * time.Second
)

// orders is a listing, and how programs go through what it lists.
type orders struct {
	listing
	files, dirs *order
	read        *order // the directories again: in which files were opened
	walk        *walk
	depth       int // below where the walk began
}

// newOrders is for a listing of dir, which is in a directory with the orders above, if
// those are known.
func (fs *FS) newOrders(dir *node, above *orders, l listing) *orders {
	o := &orders{listing: l, walk: &walk{}}
	if above != nil {
		o.walk, o.depth = above.walk, above.depth+1
	}
	files := l.entries
	dirs := only(l.entries, true)
	if len(dirs) > 0 {
		files = only(l.entries, false)
	}
	o.files = newOrder(files, maxAhead, func() []uint64 { return fs.tree.inosIn(dir, files) })
	inos := func() []uint64 { return fs.tree.inosIn(dir, dirs) }
	o.dirs, o.read = newOrder(dirs, maxWindow, inos), newOrder(dirs, maxWindow, inos)
	return o
}

// only returns the directories of a listing, or the others.
func only(entries []uftp.Info, dirs bool) (some []uftp.Info) {
	for _, e := range entries {
		if e.IsDir() == dirs {
			some = append(some, e)
		}
	}
	return some
}

// above returns the orders of the directory that dir is in, nil if they are not known.
func (fs *FS) above(dir *node) (up *node, above *orders) {
	if up, _ = fs.tree.location(dir); up == nil {
		return nil, nil
	}
	return up, up.orders.Load()
}

// walk is what programs did in a tree of directories, as far as it says what they do
// next. It is forgotten when something was learned in vain.
type walk struct {
	mu     sync.Mutex // guards what follows
	down   bool       // they go down from directory to directory
	window int        // how many files they find read in each, 0 if they open none
	byIno  bool       // in the order of inode numbers
	in     *node      // where a file was opened last
	beside bool       // after those of a directory they open files of the next one
	later  bool       // but long after it was listed
}

func (w *walk) descended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
}

func (w *walk) reading(window int, byIno bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.window, w.byIno = window, byIno
}

// entered reports whether the last file was opened elsewhere, before one of dir.
func (w *walk) entered(dir *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.in
	w.in = dir
	return was != dir
}

// readLater says that what was read of a directory when it was listed was too old when
// it was opened.
func (w *walk) readLater() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later = true
}

// besides reports whether those beside a directory are read after it; now says that
// this was seen.
func (w *walk) besides(now bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beside = w.beside || now
	return w.beside
}

func (w *walk) inVain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.window, w.beside, w.later = false, 0, false, false
}

// next returns whether to list what is below a directory, and how many of its files to
// read, in which order, and whether that should not be done before they are opened.
func (w *walk) next() (down bool, window int, byIno, later bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down, w.window, w.byIno, w.later
}

// walked notes that somebody has begun to read dir, and looks ahead of him.
func (fs *FS) walked(dir *node, done outcome) {
	o := dir.orders.Load()
	if o == nil {
		return
	}
	fs.ahead.learn(done)
	up, above := fs.above(dir)
	var beside []listJob
	if above != nil {
		_, name := fs.tree.location(dir)
		beside = listJobs(up, above, above.dirs.opened(name, done, maxWindow))
		if n, _ := above.dirs.pace(); n > 0 && above.depth > 0 {
			o.walk.descended()
		}
	}
	fs.listAhead(fs.lookDeeper(dir, o, fs.ahead.room()), beside)
}

// lookDeeper looks at what is in a directory that is read, or will be: it reads as many
// of its files as there is room for, and returns which of the directories to list.
func (fs *FS) lookDeeper(dir *node, o *orders, room int) []listJob {
	down, window, byIno, later := o.walk.next()
	if window > 0 && !later {
		fs.readSome(dir, o, o.files.begin(max(window, minRead), byIno, room))
	}
	if !down {
		return nil
	}
	return listJobs(dir, o, o.dirs.begin(minAhead, byIno, maxWindow))
}

// readBeside looks ahead of somebody who opens the first file of a directory, done
// being what was done for him: some programs, such as rsync, list a whole tree first.
// It reads what follows there and in the next directories, where those were listed.
func (fs *FS) readBeside(dir *node, o *orders, done outcome) {
	up, above := fs.above(dir)
	if above == nil {
		return
	}
	_, name := fs.tree.location(dir)
	dirs := above.read.opened(name, done, maxWindow)
	seen, _ := above.read.pace()
	_, window, byIno, later := o.walk.next()
	if beside := o.walk.besides(seen > 0); !beside || window == 0 {
		return
	}
	if seen == 0 {
		dirs = above.read.begin(minAhead, byIno, maxWindow)
	}
	var unsure []*node
	for _, info := range dirs {
		n := fs.tree.child(up, info.Name)
		if n == nil || !n.dir {
			continue
		}
		next := n.orders.Load()
		if next == nil {
			continue
		}
		if later {
			next.files.afresh()
		}
		fs.readSome(n, next, next.files.begin(max(window, minRead), byIno, fs.ahead.room()))
		if !n.believed(fs.spec.AttrTimeout / 2) {
			unsure = append(unsure, n)
		}
	}
	if len(unsure) > 0 {
		fs.group.Go(func() { _ = fs.askTogether(fs.ctx, unsure) })
	}
	fs.readSome(dir, o, o.files.begin(max(window, minRead), byIno, fs.ahead.room()))
}

// listJob is a directory to be listed.
type listJob struct {
	up    *node
	above *orders
	info  uftp.Info
}

func listJobs(up *node, above *orders, dirs []uftp.Info) []listJob {
	jobs := make([]listJob, 0, len(dirs))
	for _, info := range dirs {
		if info.Size <= maxDir {
			jobs = append(jobs, listJob{up, above, info})
		}
	}
	return jobs
}

// listAhead lists directories behind the caller: those below one that is read or was
// listed, which come first for who goes through them, and those beside one.
func (fs *FS) listAhead(below, beside []listJob) {
	if fs.earlyTime() <= 0 || fs.ctx.Err() != nil {
		return
	}
	for range fs.ahead.queue(below, beside) {
		fs.group.Go(func() {
			for jobs := fs.ahead.next(); len(jobs) > 0; jobs = fs.ahead.next() {
				fs.listEarly(jobs)
			}
		})
	}
}

// early is a listing that was asked for before anybody read the directory.
type early struct {
	n     *node
	above *orders
	done  chan struct{} // closed when what follows is set
	o     *orders       // nil if there is none, or it is not to be believed any more
	old   bool          // because it came too long ago
	leave func()        // makes room for another
}

// listEarly lists directories for who reads them next, but for those that somebody
// was faster to read.
func (fs *FS) listEarly(jobs []listJob) {
	var batch []*early
	for _, job := range jobs {
		n := fs.foreknow(job.up, job.above, job.info)
		if n == nil {
			fs.ahead.leave(0)
			continue
		}
		e, before, read := &early{n: n, above: job.above, done: make(chan struct{})}, n.early.Load(), n.orders.Load()
		if !n.dir || read != nil && read.at.After(job.above.at) || before != nil && !before.old || !n.early.CompareAndSwap(before, e) {
			fs.ahead.leave(0)
			fs.tree.unref(n)
			continue
		}
		batch = append(batch, e)
	}
	if len(batch) > 0 {
		fs.listTogether(batch)
	}
	var below []listJob
	for _, e := range batch {
		entries := 0
		if e.o != nil {
			entries = len(e.o.entries)
		}
		fs.ahead.note(entries)
		e.leave = sync.OnceFunc(func() { fs.ahead.leave(entries) })
		close(e.done)
		time.AfterFunc(fs.earlyTime(), func() {
			if e.n.early.CompareAndSwap(e, &early{n: e.n, done: e.done, old: true, leave: e.leave}) {
				e.above.walk.inVain()
			}
			e.leave()
			fs.tree.unref(e.n)
		})
		if e.o != nil {
			room := min(fs.ahead.room()-maxAhead/2, fitting(e.o.files.names, fs.spec.CacheSize/(4*maxWindow)))
			below = append(below, fs.lookDeeper(e.n, e.o, room)...)
		}
	}
	fs.listAhead(below, nil)
}

// fitting returns of how many files those that are read have so many bytes together.
func fitting(files []uftp.Info, bytes int64) int {
	for i, f := range files {
		if f.Size > smallFile {
			continue
		}
		if bytes -= f.Size; bytes < 0 {
			return i
		}
	}
	return len(files)
}

// listTogether lists directories, and asks what they are if that is not known well
// enough. What goes wrong is for their readers to find.
func (fs *FS) listTogether(batch []*early) {
	claims := make([]claim, len(batch))
	for i, e := range batch {
		claims[i] = claim{e.n, shared, shared}
	}
	release, err := fs.lock(fs.ctx, claims...)
	if err != nil {
		return
	}
	defer release()
	paths, hidden := make([]string, len(batch)), make([]map[string]*node, len(batch))
	var asking sync.WaitGroup
	defer asking.Wait()
	for i, e := range batch {
		path, _ := fs.tree.path(e.n)
		paths[i], hidden[i] = path, fs.tree.hidden(e.n)
		if !e.n.believed(fs.spec.AttrTimeout / 2) {
			asking.Go(func() { _ = fs.ask(fs.ctx, e.n, path) })
		}
	}
	tick := fs.tick()
	listings, err := fs.server.ListSome(fs.ctx, paths)
	if err != nil {
		return
	}
	for i, l := range listings {
		if l.Err == nil {
			batch[i].o = fs.newOrders(batch[i].n, batch[i].above, newListing(l.Entries, hidden[i], tick))
		}
	}
}

// awaitEarly waits for a listing of dir that is on its way, and tells what listing
// ahead has done for who reads dir now. The caller holds no gates: what is on its way
// needs them.
func (fs *FS) awaitEarly(ctx context.Context, dir *node) outcome {
	e := dir.early.Load()
	if e == nil {
		return missed
	}
	select {
	case <-e.done:
		return inTime
	default:
	}
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	return missed
}

// takeEarly returns what was learned of dir ahead, whose entries gate the caller
// holds. It is good for one reader; nil if it is not good any more.
func (fs *FS) takeEarly(dir *node, done *outcome) *orders {
	e := dir.early.Swap(nil)
	if e == nil {
		return nil
	}
	select {
	case <-e.done:
	default:
		return nil
	}
	e.leave()
	switch {
	case e.old || e.o != nil && time.Since(e.o.at) >= fs.earlyTime():
		*done = tooEarly
		return nil
	case e.o == nil || e.o.outdated(dir):
		return nil
	}
	return e.o
}

// earlyTime is for how long what is learned ahead may be believed.
func (fs *FS) earlyTime() time.Duration {
	return min(earlyTime, fs.spec.AttrTimeout, fs.spec.EntryTimeout)
}

// foreknow returns the node of a listed entry of dir, with a reference for the
// caller, nil if there is none any more. Where the kernel has not looked it up it
// is kept for a while, so that it may.
func (fs *FS) foreknow(dir *node, o *orders, info uftp.Info) *node {
	if n := fs.tree.child(dir, info.Name); n != nil {
		fs.tree.ref(n)
		return n
	}
	valid := fs.earlyTime() - time.Since(o.at)
	if valid <= 0 || checkName(info.Name) != nil {
		return nil
	}
	release, err := fs.lock(fs.ctx, claim{dir, shared, shared})
	if err != nil {
		return nil
	}
	defer release()
	if o.outdated(dir) {
		return nil
	}
	n, err := fs.enter(dir, info.Name, info, o.tick, o.at)
	if err != nil {
		return nil
	}
	fs.tree.ref(n)
	fs.tree.ref(n)
	fs.tree.forget(n.id, 1) // the kernel's, which it did not ask for
	time.AfterFunc(valid, func() { fs.tree.unref(n) })
	return n
}

// queue notes directories to be listed, and returns how many more goroutines are to do
// it.
func (a *ahead) queue(first, last []listJob) (more int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jobs = slices.Concat(first, a.jobs, last)
	a.jobs = a.jobs[:min(len(a.jobs), maxJobs)]
	more = min(len(a.jobs), max(0, a.roomLocked()), maxLists-a.lists)
	a.lists += more
	return more
}

// next returns the next directories to be listed, and counts the caller out if there
// are none, or enough that nobody has read yet.
func (a *ahead) next() []listJob {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := max(0, min(len(a.jobs), a.roomLocked(), uftp.MaxListSome))
	jobs := a.jobs[:n]
	a.jobs = a.jobs[n:]
	if a.early += n; n == 0 {
		a.lists--
	}
	return jobs
}

// roomLocked returns how many more directories may be listed.
func (a *ahead) roomLocked() int {
	if a.entries > maxListed/2 {
		return 0
	}
	return a.window - a.early
}

// learn adapts how many directories are listed ahead to what was done for a reader.
func (a *ahead) learn(done outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch done {
	case missed:
		a.window = min(2*a.window, maxWindow)
	case tooEarly:
		a.window = max(a.window/2, 1)
	case inTime:
	}
}

// note counts entries of directories that nobody has read yet, leave ends with one.
func (a *ahead) note(entries int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries += entries
}

func (a *ahead) leave(entries int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.early--
	a.entries -= entries
}
