package fusefs

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/semaphore"
)

// A gate is passed by many together or by one alone. Waiting heeds a context,
// in order of arrival, so that neither kind starves.
type gate struct {
	sem     *semaphore.Weighted
	waiters atomic.Int32
}

// weight is how much of a gate is taken.
type weight int64

const (
	none      weight = 0
	shared    weight = 1
	exclusive weight = 1 << 30
)

func newGate() *gate { return &gate{sem: semaphore.NewWeighted(int64(exclusive))} }

// pass takes w of the gate. Its error is ctx's.
func (g *gate) pass(ctx context.Context, w weight) error {
	if g.sem.TryAcquire(int64(w)) {
		return nil
	}
	g.waiters.Add(1)
	defer g.waiters.Add(-1)
	return g.sem.Acquire(ctx, int64(w))
}

func (g *gate) leave(w weight) { g.sem.Release(int64(w)) }

// wanted reports whether somebody waits before the gate.
func (g *gate) wanted() bool { return g.waiters.Load() > 0 }

// claim is what an operation needs of a node: its names (directories), and its
// path and content. The directories above it are shared implicitly.
type claim struct {
	n       *node
	entries weight
	op      weight
}

// held are gates that were passed.
type held []struct {
	gate *gate
	w    weight
}

func (h *held) pass(ctx context.Context, g *gate, w weight) error {
	if err := g.pass(ctx, w); err != nil {
		return err
	}
	*h = append(*h, struct {
		gate *gate
		w    weight
	}{g, w})
	return nil
}

func (h *held) release() {
	for _, passed := range slices.Backward(*h) {
		passed.gate.leave(passed.w)
	}
	*h = nil
}

// lock passes the gates that the claims name, in the order that keeps
// operations from waiting for each other in a circle, and returns what releases
// them. Until then the paths of all claimed nodes stay what they are, and the nodes
// known, even if the kernel forgets them. Its error is ctx's, or ESTALE if a node
// has no path.
func (fs *FS) lock(ctx context.Context, claims ...claim) (release func(), err error) {
	var names, ops held
	byID := slices.Clone(claims)
	slices.SortFunc(byID, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.n.id, b.n.id), -cmp.Compare(a.entries, b.entries))
	})
	for i, c := range byID {
		if c.entries == none || i > 0 && byID[i-1].n == c.n {
			continue
		}
		if err := names.pass(ctx, c.n.entries, c.entries); err != nil {
			names.release()
			return nil, err
		}
	}
	for {
		want, ok := fs.tree.footprint(claims)
		if !ok {
			names.release()
			return nil, syscall.ESTALE
		}
		for _, s := range want {
			if err := ops.pass(ctx, s.n.op, s.w); err != nil {
				ops.release()
				names.release()
				return nil, err
			}
		}
		// While we waited somebody may have moved one of them. From now on
		// nobody can.
		if fs.tree.hold(claims, want) {
			return func() { ops.release(); names.release(); fs.tree.unhold(claims) }, nil
		}
		ops.release()
	}
}

// lockPath is lock for one node, whose path it returns.
func (fs *FS) lockPath(ctx context.Context, n *node, w weight) (path string, release func(), err error) {
	release, err = fs.lock(ctx, claim{n: n, op: w})
	if err != nil {
		return "", nil, err
	}
	path, _ = fs.tree.path(n)
	return path, release, nil
}

// step is a gate to pass for a path: that of a node, at a place.
type step struct {
	n      *node
	parent *node
	name   string
	w      weight
}

// footprint returns the op gates that claims need, in order, or !ok if one of
// the nodes has no path.
func (t *tree) footprint(claims []claim) (steps []step, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.footprintOf(claims)
}

// hold is ref for all claimed nodes, if claims still have that footprint; unhold is
// unref.
func (t *tree) hold(claims []claim, want []step) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now, ok := t.footprintOf(claims); !ok || !slices.Equal(now, want) {
		return false
	}
	for _, c := range claims {
		c.n.refs++
	}
	return true
}

func (t *tree) unhold(claims []claim) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range claims {
		c.n.refs--
		t.dropUnused(c.n)
	}
}

func (t *tree) footprintOf(claims []claim) (steps []step, ok bool) {
	for _, c := range claims {
		w := c.op
		for n := c.n; ; n = n.parent {
			steps = append(steps, step{n, n.parent, n.name, w})
			if n == t.root {
				break
			}
			if n.parent == nil {
				return nil, false
			}
			w = shared
		}
	}
	slices.SortFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.n.id, b.n.id), -cmp.Compare(a.w, b.w))
	})
	return slices.CompactFunc(steps, func(a, b step) bool { return a.n == b.n }), true
}
