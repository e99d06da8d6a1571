package fusefs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// uploadSize is how many dirty bytes of a file are enough to upload them
	// without waiting for more.
	uploadSize = 8 << 20
	// maxUploads bounds the files that are uploaded in the background at a time.
	maxUploads = 4
	// maxRetryDelay bounds the time between retries of a failed upload.
	maxRetryDelay = 30 * time.Second
)

// writeback knows the files with something to be done for them in the
// background: dirty data to be uploaded, hidden files to be removed.
type writeback struct {
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	jobs    map[*node]*job
	pressed int           // writers that wait for room
	failed  chan struct{} // closed, and replaced, when an upload fails
}

// job is what is to be done for one node. The job holds a reference to it.
type job struct {
	since    time.Time // since when there is something to do
	failures int       // in a row
	err      error     // the last of them
	failedAt time.Time // and when
	retryAt  time.Time
	busy     bool
}

func newWriteback() *writeback {
	return &writeback{wake: make(chan struct{}, 1), jobs: make(map[*node]*job), failed: make(chan struct{})}
}

// kick makes the background look again.
func (b *writeback) kick() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// mark notes that there is something to do for n.
func (b *writeback) mark(fs *FS, n *node) {
	b.mu.Lock()
	j := b.jobs[n]
	isNew := j == nil
	if isNew {
		b.jobs[n] = &job{since: time.Now()}
		fs.tree.ref(n)
	}
	b.mu.Unlock()
	if isNew || fs.spool.Bytes(n.id) >= uploadSize || fs.tight() {
		b.kick()
	}
}

// hurry makes what is to be done for n due now.
func (b *writeback) hurry(n *node) {
	b.mu.Lock()
	if j := b.jobs[n]; j != nil {
		j.since = time.Time{}
	}
	b.mu.Unlock()
	b.kick()
}

// press counts writers that wait for room.
func (b *writeback) press(by int) {
	b.mu.Lock()
	b.pressed += by
	b.mu.Unlock()
	b.kick()
}

// tight reports whether the spool is nearly full.
func (fs *FS) tight() bool {
	used, limit := fs.spool.Used()
	return used > limit/2
}

// settle notes how an upload of n, or its removal, went.
func (fs *FS) settle(n *node, err error) {
	n.mu.Lock()
	first := err != nil && n.failure == nil
	n.failure = err
	n.mu.Unlock()
	b := fs.back
	b.mu.Lock()
	j := b.jobs[n]
	// Looked at while nobody can mark n: whoever finds the job has it kept.
	opens, place := fs.tree.status(n)
	left := fs.spool.Dirty(n.id) || place == Hidden && opens == 0
	switch {
	case j == nil:
	case !left:
		delete(b.jobs, n)
	case err == nil:
		j.since, j.failures, j.err, j.retryAt = time.Now(), 0, nil, time.Time{}
	default:
		j.failures++
		j.err, j.failedAt = err, time.Now()
		close(b.failed)
		b.failed = make(chan struct{})
		delay := min(fs.cfg.RetryDelay<<min(j.failures-1, 10), maxRetryDelay)
		j.retryAt = time.Now().Add(delay)
	}
	b.mu.Unlock()
	switch {
	case !first || errors.Is(err, context.Canceled):
	case left:
		fs.log.Warn("upload failed; the data is kept and sent again", "path", fs.describe(n.id, ""),
			"bytes", fs.spool.Bytes(n.id), "err", err)
	default:
		fs.log.Warn("upload failed behind its last byte", "path", fs.describe(n.id, ""), "err", err)
	}
	if j != nil {
		if !left {
			fs.tree.unref(n)
		}
		b.kick()
	}
}

// refused reports whether the server has answered that it does not take some
// data, rather than not answered.
func refused(err error) bool {
	switch Errno(err) {
	case 0, syscall.EIO, syscall.ETIMEDOUT, syscall.EBUSY, syscall.EINTR:
		return false
	}
	return true
}

// hopeless returns why there will be no room for data of n if one only waits:
// its own upload failed, or that of everything in the spool did, because it was
// refused or because the server is away. What was refused some time ago is tried
// again first. Who is away was waited for already, as long as the volume does:
// that is tried again, too, but nobody waits for it once more. The channel is
// closed when there is another answer.
func (fs *FS) hopeless(n *node) (failed <-chan struct{}, err error) {
	b := fs.back
	b.mu.Lock()
	defer b.mu.Unlock()
	jobs := maps.Clone(b.jobs)
	if own := b.jobs[n]; own != nil && (refused(own.err) || away(own.err)) {
		jobs = map[*node]*job{n: own}
	}
	again := false
	for m, j := range jobs {
		if !refused(j.err) && !away(j.err) {
			return b.failed, nil
		}
		if time.Since(j.failedAt) > fs.cfg.RetryDelay { // also if it is being tried right now
			j.retryAt = time.Now()
			b.kick()
			again = again || !away(j.err)
		}
		switch {
		case m == n || errors.Is(j.err, syscall.ENOSPC) || errors.Is(j.err, syscall.EDQUOT):
			err = j.err
		case err == nil:
			err = fmt.Errorf("other files take all the room (%w): %w", syscall.EIO, j.err)
		}
	}
	if again {
		return b.failed, nil
	}
	return b.failed, err
}

// arrived notes that the server takes data of n: how its last upload failed says
// nothing any more to those who wait for room.
func (b *writeback) arrived(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.jobs[n]; j != nil {
		j.err = nil
	}
}

// failing returns the errors of files whose last upload failed.
func (fs *FS) failing() map[string]error {
	fails := make(map[string]error)
	for _, n := range fs.back.nodes() {
		n.mu.Lock()
		err := n.failure
		n.mu.Unlock()
		if err != nil {
			fails[fs.describe(n.id, "")] = err
		}
	}
	return fails
}

func (b *writeback) nodes() (nodes []*node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range b.jobs {
		nodes = append(nodes, n)
	}
	return nodes
}

// writeBack does the jobs when their time has come, until the FS is closed.
func (fs *FS) writeBack() {
	var running errgroup.Group
	running.SetLimit(maxUploads)
	defer func() { _ = running.Wait() }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait := fs.due(time.Now())
		for n, j := range due {
			running.Go(func() error {
				fs.work(fs.ctx, n)
				fs.back.done(j)
				return nil
			})
		}
		timer.Reset(wait)
		select {
		case <-fs.ctx.Done():
			return
		case <-fs.back.wake:
		case <-timer.C:
		}
	}
}

// due returns the jobs that are to be done now, marked as busy, and how long the
// next one may wait.
func (fs *FS) due(now time.Time) (due map[*node]*job, wait time.Duration) {
	b := fs.back
	due = make(map[*node]*job)
	tight := fs.tight()
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = time.Hour
	busy := 0
	for _, j := range b.jobs {
		if j.busy {
			busy++
		}
	}
	for n, j := range b.jobs {
		if j.busy {
			continue
		}
		at := j.since.Add(fs.cfg.WriteBackDelay)
		switch {
		case j.failures > 0:
			at = j.retryAt
		case tight, b.pressed > 0, fs.spool.Bytes(n.id) >= uploadSize:
			at = now
		}
		if d := at.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if busy == maxUploads {
			continue // the end of one of them wakes us
		}
		busy++
		j.busy = true
		due[n] = j
	}
	return due, wait
}

// done notes that nobody is at a job any more. There may be another one for its
// node by now, which others are at.
func (b *writeback) done(j *job) {
	b.mu.Lock()
	j.busy = false
	b.mu.Unlock()
	b.kick()
}

// work does what is to be done for n.
func (fs *FS) work(ctx context.Context, n *node) {
	switch opens, place := fs.tree.status(n); {
	case place == Hidden && opens == 0:
		_ = fs.removeHidden(ctx, n, false) // settle notes and logs errors of both
	case place == Hidden || place == Linked:
		_ = fs.uploadOn(ctx, n)
	case opens == 0:
		fs.discard(n)
	default:
		fs.settle(n, errStale) // kept until the last handle is closed
	}
}

// Drain uploads all dirty data and removes what is only hidden, and returns when
// the server has confirmed it, or what went wrong with some. It is for the end,
// when no request is served any more: nobody has a file open then, whatever the
// handles say. Those who write on meanwhile are not waited for; what they have
// written by then is an error, as is all else that is left.
func (fs *FS) Drain(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(maxUploads)
	nodes := fs.back.nodes()
	for _, n := range fs.tree.allHidden() { // those that are clean, too
		if !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	errs := make([]error, len(nodes)+1)
	for i, n := range nodes {
		g.Go(func() error {
			switch _, place := fs.tree.status(n); place {
			case Hidden:
				errs[i] = fs.removeHidden(ctx, n, true)
			case Linked, Lost:
				errs[i] = fs.upload(ctx, n) // which fails for what is lost
			case Removed:
				fs.discard(n)
			}
			return nil
		})
	}
	_ = g.Wait()
	if st := fs.spool.Stats(); st.Dirty > 0 {
		errs[len(nodes)] = fmt.Errorf("%d bytes of %d files are not on the server: %w", st.Dirty, st.Files, syscall.EIO)
	}
	return errors.Join(errs...)
}
